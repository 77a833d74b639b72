import Synchronization

/// A 16550A serial port whose line is a `Console`: what the guest transmits is appended at once, so the transmitter is
/// always empty, and received bytes stay in the console until the guest reads them, so none is ever overrun.
///
/// Where there is an interrupt line, it is pulsed whenever IIR begins to name a cause; OUT2 does not gate it. A guest that
/// has not enabled the interrupt of received data and does nothing but poll LSR for it gets `.idle` from the 16th empty
/// poll in a row on. The port is a byte device: a wider access is as many byte accesses to consecutive registers, lowest
/// first, as a PC's chipset makes of it.
public final class Serial16550: Device {
  /// The first port of COM1.
  public static let com1: UInt64 = 0x3F8
  /// The ports it takes.
  public static let portCount: UInt64 = 8

  private let console: Console
  private let interrupt: (any InterruptLine)?
  /// Guards the registers: several vCPUs may use the port. Taken before the console's lock, never while it is held.
  private let registers = Mutex(UARTRegisters())

  /// A port in its state after reset, connected to `console`; nobody is interrupted without a line for it.
  public init(console: Console, interrupt: (any InterruptLine)? = nil) {
    self.console = console
    self.interrupt = interrupt
  }

  /// Tells the port that the console has input. False where the guest was not interrupted: then it polls, if it looks at
  /// all. Any thread.
  public func inputArrived() -> Bool {
    guard let interrupt else { return false }
    return registers.withLock { registers in
      // Even if the guest has been told of an earlier byte and has not read it: it may have given up too early.
      guard registers.isInterrupting(console) else { return false }
      interrupt.pulse()
      return true
    }
  }

  /// Pulses the line if what `change` does gives the guest a reason to look that it did not have before.
  private func interrupting<Result>(
    _ registers: inout UARTRegisters, _ change: (inout UARTRegisters) -> Result
  ) -> Result {
    guard let interrupt else { return change(&registers) }
    let before = registers.isInterrupting(console)
    let result = change(&registers)
    if !before && registers.isInterrupting(console) { interrupt.pulse() }
    return result
  }

  /// Reads the register at `offset` and, for wider accesses, those after it. Past the last there are ones.
  public func read(offset: UInt64, width: AccessWidth) -> (value: UInt64, effect: DeviceEffect) {
    guard offset < Self.portCount else { return (width.mask, .none) }
    return registers.withLock { registers in
      interrupting(&registers) { registers in
        var value: UInt64 = 0
        var effect = DeviceEffect.none
        for index in 0..<UInt64(width.rawValue) {
          let (byte, itsEffect) = registers.read(offset + index, console)
          value |= UInt64(byte) << (8 * index)
          if itsEffect != .none { effect = itsEffect }
        }
        return (value, effect)
      }
    }
  }

  /// Writes the register at `offset` and, for wider accesses, those after it. Past the last nothing happens.
  public func write(offset: UInt64, width: AccessWidth, value: UInt64) -> DeviceEffect {
    guard offset < Self.portCount else { return .none }
    registers.withLock { registers in
      interrupting(&registers) { registers in
        for index in 0..<UInt64(width.rawValue) {
          registers.write(offset + index, UInt8(truncatingIfNeeded: value >> (8 * index)), console)
        }
      }
    }
    return .none
  }
}

/// The registers of a 16550A, with the bit names of its data sheet.
private struct UARTRegisters {
  private enum IER {
    static let all: UInt8 = 0x0F, data: UInt8 = 1, transmit: UInt8 = 2, line: UInt8 = 4, modem: UInt8 = 8
  }
  private enum IIR {
    static let none: UInt8 = 1, line: UInt8 = 6, data: UInt8 = 4, transmit: UInt8 = 2, modem: UInt8 = 0
  }
  private enum LSR { static let dataReady: UInt8 = 0x01, overrun: UInt8 = 0x02, transmitterEmpty: UInt8 = 0x60 }
  private enum MCR {
    static let all: UInt8 = 0x1F, dtr: UInt8 = 1, rts: UInt8 = 2, out1: UInt8 = 4, out2: UInt8 = 8, loop: UInt8 = 0x10
  }
  private enum MSR { static let cts: UInt8 = 0x10, dsr: UInt8 = 0x20, ri: UInt8 = 0x40, dcd: UInt8 = 0x80 }

  private static let pollsUntilIdle = 16

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
  private var emptyPolls = 0

  private var divisorAccess: Bool { lineControl & 0x80 != 0 }
  private var loopback: Bool { modemControl & MCR.loop != 0 }

  mutating func read(_ offset: UInt64, _ console: Console) -> (UInt8, DeviceEffect) {
    switch offset {
    case 0: (divisorAccess ? UInt8(truncatingIfNeeded: divisor) : receive(console), .none)
    case 1: (divisorAccess ? UInt8(divisor >> 8) : interruptEnable, .none)
    case 2: (readInterruptIdentification(console), .none)
    case 3: (lineControl, .none)
    case 4: (modemControl, .none)
    case 5: readLineStatus(console)
    case 6: (readModemStatus(), .none)
    case 7: (scratch, .none)
    default: (0xFF, .none)
    }
  }

  mutating func write(_ offset: UInt64, _ byte: UInt8, _ console: Console) {
    switch offset {
    case 0 where divisorAccess: divisor = divisor & 0xFF00 | UInt16(byte)
    case 0: transmit(byte, console)
    case 1 where divisorAccess: divisor = divisor & 0x00FF | UInt16(byte) << 8
    case 1: writeInterruptEnable(byte)
    case 2: writeFIFOControl(byte)
    case 3: lineControl = byte
    case 4: writeModemControl(byte)
    case 7: scratch = byte
    default: break  // LSR and MSR are for reading; nothing stands past SCR.
    }
  }

  // MARK: Data

  private mutating func receive(_ console: Console) -> UInt8 {
    if !looped.isEmpty { return looped.removeFirst() }
    guard !loopback, let byte = console.takeInput() else { return 0 }
    emptyPolls = 0
    return byte
  }

  private mutating func transmit(_ byte: UInt8, _ console: Console) {
    emptyPolls = 0
    transmitInterruptPending = true
    guard loopback else { return console.append(byte) }
    if looped.count < (fifoEnabled ? 16 : 1) {
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
    let enable = byte & 1 != 0
    if enable != fifoEnabled || byte & 2 != 0 { looped.removeAll(keepingCapacity: true) }
    fifoEnabled = enable
  }

  // MARK: Status

  private mutating func readLineStatus(_ console: Console) -> (UInt8, DeviceEffect) {
    var status = LSR.transmitterEmpty
    if overrun { status |= LSR.overrun }
    overrun = false
    if dataReady(console) {
      emptyPolls = 0
      return (status | LSR.dataReady, .none)
    }
    // In loopback no console input would ever end the sleep. And whoever is interrupted looks at LSR for another reason.
    guard !loopback, interruptEnable & IER.data == 0 else { return (status, .none) }
    emptyPolls = min(emptyPolls + 1, Self.pollsUntilIdle)
    return (status, emptyPolls == Self.pollsUntilIdle ? .idle : .none)
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
    // The ring indicator's delta bit tells its trailing edge only.
    let changed = (before ^ modemLines) & ~MSR.ri | before & ~modemLines & MSR.ri
    modemDeltas |= changed >> 4
  }

  // MARK: Interrupts

  private mutating func writeInterruptEnable(_ byte: UInt8) {
    // The transmitter is empty, so enabling its interrupt makes it pending at once.
    if byte & ~interruptEnable & IER.transmit != 0 { transmitInterruptPending = true }
    interruptEnable = byte & IER.all
    emptyPolls = 0
  }

  private mutating func readInterruptIdentification(_ console: Console) -> UInt8 {
    let source = interruptSource(console)
    if source == IIR.transmit { transmitInterruptPending = false }
    return source | (fifoEnabled ? 0xC0 : 0)
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
