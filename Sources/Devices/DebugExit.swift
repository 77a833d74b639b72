/// The port that a guest writes when it is done. A write of any width ends the guest; the low byte is its exit code. 0 is
/// success. Unlike QEMU's device of this name, it does not shift the code. Reads return all ones.
public final class DebugExit: Device {
  /// At port 0xF4, where guests expect it. Four ports, so that a 32-bit write fits.
  public static let attachment = DeviceAttachment("debug-exit", at: .ports(0xF4, count: 4)) { _ in DebugExit() }

  /// It has no state.
  public init() {}

  /// All ones: there is nothing to read.
  public func read(offset: UInt64, width: AccessWidth) -> (value: UInt64, effect: DeviceEffect) { (width.mask, .none) }

  /// Ends the guest, at any offset.
  public func write(offset: UInt64, width: AccessWidth, value: UInt64) -> DeviceEffect {
    .exit(code: UInt8(truncatingIfNeeded: value))
  }
}
