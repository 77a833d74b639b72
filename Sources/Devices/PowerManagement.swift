import Synchronization

/// ACPI's power management block: the event registers (status at 0, enable at 2) and the control register (at 4), each
/// of 16 bits. There are no events; what it is for is that a guest goes to sleep: any sleep type is off.
///
/// Source: ACPI specification 6.4, chapter 4.8.3.
public final class PowerManagement: Device {
  private static let sciEnabled: UInt64 = 1 << 0
  private static let sleepEnable: UInt64 = 1 << 13

  /// Kept, since kernels read back what they enabled. Relaxed: it orders nothing.
  private let enabledEvents = Atomic<UInt16>(0)

  /// No event is enabled.
  public init() {}

  /// ACPI mode is on for good, and nothing has happened.
  public func read(offset: UInt64, width: AccessWidth) -> (value: UInt64, effect: DeviceEffect) {
    // As one number, so that accesses of all widths see the same.
    let registers = UInt64(enabledEvents.load(ordering: .relaxed)) << 16 | Self.sciEnabled << 32
    return (offset < 6 ? registers >> (8 * offset) : 0, .none)
  }

  /// A write of the control register that enables sleep turns the machine off.
  public func write(offset: UInt64, width: AccessWidth, value: UInt64) -> DeviceEffect {
    switch (offset, width) {
    case (0, .dword): enabledEvents.store(UInt16(truncatingIfNeeded: value >> 16), ordering: .relaxed)
    case (2, .word): enabledEvents.store(UInt16(truncatingIfNeeded: value), ordering: .relaxed)
    case (4, .word) where value & Self.sleepEnable != 0: return .powerOff
    default: break
    }
    return .none
  }
}
