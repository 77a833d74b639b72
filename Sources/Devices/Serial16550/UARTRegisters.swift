/// The registers of a 16550A, with the names of its data sheet.
public struct UARTRegisters: DeviceState {
  /// The first version.
  public static let version = 1

  private enum Register {
    /// Of data, and the divisor's low byte.
    static let data: UInt64 = 0
    /// Interrupt enable, and the divisor's high byte.
    static let ier: UInt64 = 1
    /// Interrupt identification when read, FIFO control when written.
    static let iir: UInt64 = 2, fcr: UInt64 = 2
    static let lcr: UInt64 = 3, mcr: UInt64 = 4, lsr: UInt64 = 5, msr: UInt64 = 6, scr: UInt64 = 7
  }
  private enum LCR { static let divisorAccess: UInt8 = 0x80 }
  private enum FCR { static let enable: UInt8 = 1, clearReceiver: UInt8 = 2 }
  private enum IER {
    static let all: UInt8 = 0x0F, data: UInt8 = 1, transmit: UInt8 = 2, line: UInt8 = 4, modem: UInt8 = 8
  }
  private enum IIR {
    static let none: UInt8 = 1, line: UInt8 = 6, data: UInt8 = 4, transmit: UInt8 = 2, modem: UInt8 = 0
    static let fifoEnabled: UInt8 = 0xC0
  }
  private enum LSR { static let dataReady: UInt8 = 0x01, overrun: UInt8 = 0x02, transmitterEmpty: UInt8 = 0x60 }
  private enum MCR {
    static let all: UInt8 = 0x1F, dtr: UInt8 = 1, rts: UInt8 = 2, out1: UInt8 = 4, out2: UInt8 = 8, loop: UInt8 = 0x10
  }
  private enum MSR { static let cts: UInt8 = 0x10, dsr: UInt8 = 0x20, ri: UInt8 = 0x40, dcd: UInt8 = 0x80 }

  private static let fifoBytes = 16

  private var divisor: UInt16 = 12  // 9600 baud
  private var interruptEnable: UInt8 = 0
  private var lineControl: UInt8 = 0
  private var modemControl: UInt8 = 0
  private var modemDeltas: UInt8 = 0
  private var scratch: UInt8 = 0
  private var fifoEnabled = false
  private var overrun = false
  private var transmitInterruptPending = false
  /// Bytes the port sent to itself in loopback, oldest first: at most 16, or 1 without FIFO.
  private var looped: [UInt8] = []
  private var pacing = PollPacing()

  /// The state after reset.
  public init() {}

  /// Throws unless a port can have these registers.
  func check() throws(DeviceStateError) {
    guard looped.count <= loopedLimit else { throw .impossible(member: "looped bytes") }
    guard pacing.isPossible else { throw .impossible(member: "pacing") }
  }

  private var loopedLimit: Int { fifoEnabled ? Self.fifoBytes : 1 }
  private var divisorAccess: Bool { lineControl & LCR.divisorAccess != 0 }
  private var loopback: Bool { modemControl & MCR.loop != 0 }

  mutating func read(
    _ offset: UInt64, _ console: Console, _ monotonicNS: () -> UInt64
  ) -> (UInt8, DeviceEffect) {
    switch offset {
    case Register.data: (divisorAccess ? UInt8(truncatingIfNeeded: divisor) : receive(console), .none)
    case Register.ier: (divisorAccess ? UInt8(divisor >> 8) : interruptEnable, .none)
    case Register.iir: (readInterruptIdentification(console), .none)
    case Register.lcr: (lineControl, .none)
    case Register.mcr: (modemControl, .none)
    case Register.lsr: readLineStatus(console, monotonicNS)
    case Register.msr: (readModemStatus(), .none)
    case Register.scr: (scratch, .none)
    default: (0xFF, .none)
    }
  }

  mutating func write(_ offset: UInt64, _ byte: UInt8, _ console: Console) {
    switch offset {
    case Register.data where divisorAccess: divisor = divisor & 0xFF00 | UInt16(byte)
    case Register.data: transmit(byte, console)
    case Register.ier where divisorAccess: divisor = divisor & 0x00FF | UInt16(byte) << 8
    case Register.ier: writeInterruptEnable(byte)
    case Register.fcr: writeFIFOControl(byte)
    case Register.lcr: lineControl = byte
    case Register.mcr: writeModemControl(byte)
    case Register.scr: scratch = byte
    default: break  // LSR and MSR are for reading; nothing stands past SCR.
    }
  }

  // MARK: Data

  private mutating func receive(_ console: Console) -> UInt8 {
    if !looped.isEmpty { return looped.removeFirst() }
    guard !loopback, let byte = console.takeInput() else { return 0 }
    pacing.reset()
    return byte
  }

  private mutating func transmit(_ byte: UInt8, _ console: Console) {
    pacing.reset()
    transmitInterruptPending = true
    guard loopback else { return console.append(byte) }
    if looped.count < loopedLimit {
      looped.append(byte)
    } else {
      // A full FIFO loses the new byte, the single buffer of a 16450 the old one.
      overrun = true
      if !fifoEnabled { looped[0] = byte }
    }
  }

  private func dataReady(_ console: Console) -> Bool {
    !looped.isEmpty || !loopback && console.hasInput
  }

  /// FIFO control. Clearing the receiver drops looped bytes only: console input is still on the line, not in the FIFO.
  private mutating func writeFIFOControl(_ byte: UInt8) {
    let enable = byte & FCR.enable != 0
    if enable != fifoEnabled || byte & FCR.clearReceiver != 0 { looped.removeAll(keepingCapacity: true) }
    fifoEnabled = enable
  }

  // MARK: Status

  private mutating func readLineStatus(
    _ console: Console, _ monotonicNS: () -> UInt64
  ) -> (UInt8, DeviceEffect) {
    var status = LSR.transmitterEmpty
    if overrun { status |= LSR.overrun }
    overrun = false
    if dataReady(console) {
      pacing.reset()
      return (status | LSR.dataReady, .none)
    }
    // In loopback no console input would end the sleep. A guest that input interrupts reads LSR for another reason.
    guard !loopback, interruptEnable & IER.data == 0 else { return (status, .none) }
    guard let napNS = pacing.emptyPoll(atNS: monotonicNS()) else { return (status, .none) }
    return (status, .idle(forNS: napNS))
  }

  private mutating func readModemStatus() -> UInt8 {
    defer { modemDeltas = 0 }
    return modemLines | modemDeltas
  }

  /// The high half of MSR: a peer that is always there, or the port's own outputs in loopback.
  private var modemLines: UInt8 {
    guard loopback else { return MSR.dcd | MSR.dsr | MSR.cts }
    var lines: UInt8 = 0
    if modemControl & MCR.rts != 0 { lines |= MSR.cts }
    if modemControl & MCR.dtr != 0 { lines |= MSR.dsr }
    if modemControl & MCR.out1 != 0 { lines |= MSR.ri }
    if modemControl & MCR.out2 != 0 { lines |= MSR.dcd }
    return lines
  }

  private mutating func writeModemControl(_ byte: UInt8) {
    let before = modemLines
    modemControl = byte & MCR.all
    // The ring indicator's delta bit marks its trailing edge only.
    let changed = (before ^ modemLines) & ~MSR.ri | before & ~modemLines & MSR.ri
    modemDeltas |= changed >> 4
  }

  // MARK: Interrupts

  private mutating func writeInterruptEnable(_ byte: UInt8) {
    // The transmitter is empty, so enabling its interrupt makes it pending at once.
    if byte & ~interruptEnable & IER.transmit != 0 { transmitInterruptPending = true }
    interruptEnable = byte & IER.all
    pacing.reset()
  }

  private mutating func readInterruptIdentification(_ console: Console) -> UInt8 {
    let source = interruptSource(console)
    if source == IIR.transmit { transmitInterruptPending = false }
    return source | (fifoEnabled ? IIR.fifoEnabled : 0)
  }

  /// Whether IIR names a cause.
  func isInterrupting(_ console: Console) -> Bool { interruptSource(console) != IIR.none }

  /// The pending interrupt of the highest priority.
  private func interruptSource(_ console: Console) -> UInt8 {
    if interruptEnable & IER.line != 0 && overrun { return IIR.line }
    if interruptEnable & IER.data != 0 && dataReady(console) { return IIR.data }
    if interruptEnable & IER.transmit != 0 && transmitInterruptPending { return IIR.transmit }
    if interruptEnable & IER.modem != 0 && modemDeltas != 0 { return IIR.modem }
    return IIR.none
  }
}
