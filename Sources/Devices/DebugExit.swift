/// The port a guest writes to say that it is done. Any write, of any width, ends it with the low byte as its code
/// (0 is success; unlike QEMU's device of this name, the code is not shifted). Reads give all ones.
public final class DebugExit: Device {
  /// Where guests expect it.
  public static let port: UInt64 = 0xF4
  /// Four ports, so that a 32-bit write fits.
  public static let portCount: UInt64 = 4

  /// It has no state.
  public init() {}

  /// All ones: there is nothing to read.
  public func read(offset: UInt64, width: AccessWidth) -> (value: UInt64, effect: DeviceEffect) { (width.mask, .none) }

  /// Ends the guest, at any offset.
  public func write(offset: UInt64, width: AccessWidth, value: UInt64) -> DeviceEffect {
    .exit(code: UInt8(truncatingIfNeeded: value))
  }
}
