/// The reset control register of a PC's chipset, at port 0xCF9: a write with bit 2 set resets the machine. Reads give 0.
public final class ResetControl: Device {
  private static let resetProcessor: UInt64 = 1 << 2

  /// It has no state.
  public init() {}

  /// Nothing is under way.
  public func read(offset: UInt64, width: AccessWidth) -> (value: UInt64, effect: DeviceEffect) { (0, .none) }

  /// Resets, whatever kind of reset is asked for.
  public func write(offset: UInt64, width: AccessWidth, value: UInt64) -> DeviceEffect {
    value & Self.resetProcessor != 0 ? .reset : .none
  }
}
