/// The reset control register of a PC's chipset: a write with bit 2 set resets the machine. Reads give 0.
public final class ResetControl: Device {
  /// Its port.
  public static let port: UInt16 = 0xCF9
  /// The value that resets the machine, as the ACPI tables name it.
  static let resetValue: UInt8 = 0x06
  /// At its port.
  public static let attachment = DeviceAttachment("reset-control", at: .ports(port, count: 1)) { _ in ResetControl() }

  private static let resetProcessor: UInt64 = 1 << 2

  /// It has no state.
  public init() {}

  /// Nothing is under way.
  public func read(offset: UInt64, width: AccessWidth) -> (value: UInt64, effect: DeviceEffect) { (0, .none) }

  /// Resets the machine, for every kind of reset.
  public func write(offset: UInt64, width: AccessWidth, value: UInt64) -> DeviceEffect {
    value & Self.resetProcessor != 0 ? .reset : .none
  }
}
