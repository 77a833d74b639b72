import Synchronization

/// ACPI's power management block: the event registers (status at 0, enable at 2) and the control register (at 4), each
/// of 16 bits. No event ever happens. Guests use it to turn the machine off: every sleep type means off.
///
/// Source: ACPI specification 6.4, chapter 4.8.3.
public final class PowerManagement: Device {
  /// Its first port, that of the event registers.
  public static let port: UInt16 = 0x600
  /// Bytes of the event registers.
  static let eventBytes: UInt16 = 4
  /// Bytes of the control register, which follows them.
  static let controlBytes: UInt16 = 2
  /// At its ports.
  public static let attachment = DeviceAttachment(
    "power-management", at: .ports(port, count: eventBytes + controlBytes)
  ) {
    _ in PowerManagement()
  }

  /// What it remembers.
  public struct State: DeviceState {
    /// The first version.
    public static let version = 1
    /// The enable register: kernels read back what they enabled.
    var enabledEvents: UInt16 = 0
    /// No event is enabled.
    public init() {}
  }

  private enum Register { static let status: UInt64 = 0, enable: UInt64 = 2, control: UInt64 = 4 }
  private static let end = UInt64(eventBytes + controlBytes)
  private static let sciEnabled: UInt64 = 1 << 0
  private static let sleepEnable: UInt64 = 1 << 13

  /// Relaxed: it orders nothing.
  private let enabledEvents = Atomic<UInt16>(0)

  /// No event is enabled.
  public init() {}

  /// ACPI mode is on for good, and nothing has happened.
  public func read(offset: UInt64, width: AccessWidth) -> (value: UInt64, effect: DeviceEffect) {
    // As one number, so that accesses of all widths see the same.
    let registers =
      UInt64(enabledEvents.load(ordering: .relaxed)) << (8 * Register.enable) | Self.sciEnabled
      << (8 * Register.control)
    return (offset < Self.end ? registers >> (8 * offset) : 0, .none)
  }

  /// A write of the control register that enables sleep turns the machine off.
  public func write(offset: UInt64, width: AccessWidth, value: UInt64) -> DeviceEffect {
    switch (offset, width) {
    case (Register.status, .dword): enabledEvents.store(UInt16(truncatingIfNeeded: value >> 16), ordering: .relaxed)
    case (Register.enable, .word): enabledEvents.store(UInt16(truncatingIfNeeded: value), ordering: .relaxed)
    case (Register.control, .word) where value & Self.sleepEnable != 0: return .powerOff
    default: break
    }
    return .none
  }

  /// The enabled events.
  public func save() -> State {
    var state = State()
    state.enabledEvents = enabledEvents.load(ordering: .relaxed)
    return state
  }

  /// Takes the enabled events over.
  public func restore(_ state: State) { enabledEvents.store(state.enabledEvents, ordering: .relaxed) }
}
