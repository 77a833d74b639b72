import Synchronization

/// A 16550A serial port whose line is a `Console`. What the guest transmits is appended at once, so the transmitter is
/// always empty. Received bytes stay in the console until the guest reads them, so none is overrun.
///
/// Where there is an interrupt line, the port pulses it whenever IIR begins to name a cause; OUT2 does not gate it. A guest
/// that polls LSR for input again and again, without the interrupt of received data, gets `.idle`: see `PollPacing`. The
/// port is a byte device: a wider access is as many byte accesses to consecutive registers, lowest first, as a PC's
/// chipset makes of it.
public final class Serial16550: Device {
  /// The first port of COM1.
  public static let com1: UInt64 = 0x3F8
  /// The ports it takes.
  public static let portCount: UInt64 = 8
  /// COM1 of a machine without interrupts.
  public static let polled = attachment(interrupt: nil)
  /// COM1 of a PC.
  public static let interrupting = attachment(interrupt: 4)

  private static func attachment(interrupt: UInt8?) -> DeviceAttachment {
    DeviceAttachment("com1", at: .ports(UInt16(com1), count: UInt16(portCount)), interrupt: interrupt) { environment in
      Serial16550(
        console: environment.console, interrupt: environment.interrupt, monotonicNS: environment.monotonicNS)
    }
  }

  private let console: Console
  private let interrupt: (any InterruptLine)?
  private let monotonicNS: @Sendable () -> UInt64
  /// Guards the registers: several vCPUs may use the port. Taken before the console's lock, never while it is held.
  private let registers = Mutex(UARTRegisters())

  /// A port in its state after reset, connected to `console`. Without an interrupt line it interrupts no vCPU.
  /// `monotonicNS` returns CLOCK_MONOTONIC in nanoseconds.
  public init(
    console: Console, interrupt: (any InterruptLine)? = nil, monotonicNS: @escaping @Sendable () -> UInt64
  ) {
    self.console = console
    self.interrupt = interrupt
    self.monotonicNS = monotonicNS
  }

  /// Interrupts the guest for input, if it wants that.
  public func inputArrived() -> Bool {
    guard let interrupt else { return false }
    return registers.withLock { registers in
      // Even if an earlier byte interrupted the guest and it has not read it: it may have given up too early.
      guard registers.isInterrupting(console) else { return false }
      interrupt.pulse()
      return true
    }
  }

  /// The registers, without the console's bytes.
  public func save() -> UARTRegisters { registers.withLock { $0 } }

  /// Takes the registers over. Pending causes interrupt anew.
  public func restore(_ state: UARTRegisters) throws(DeviceStateError) {
    try state.check()
    registers.withLock { registers in
      registers = state
      if registers.isInterrupting(console) { interrupt?.pulse() }
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
          let (byte, itsEffect) = registers.read(offset + index, console, monotonicNS)
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
