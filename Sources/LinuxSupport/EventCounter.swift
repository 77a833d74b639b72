import CLinux
import Glibc
import SystemPackage

/// A counter whose descriptor becomes readable when it is raised: eventfd(2).
public struct EventCounter: ~Copyable, Sendable {
  private let descriptor: OwnedDescriptor

  /// A counter at 0.
  public init() throws(Errno) { descriptor = try OwnedDescriptor(result: clinux_eventfd()) }

  /// The descriptor's number; valid while this value lives.
  public var rawValue: Int32 { descriptor.rawValue }

  /// Adds 1. Any thread; does not wait. A counter that is full wakes its reader all the same.
  public borrowing func signal() {
    var one: UInt64 = 1
    // Safe: the kernel reads the 8 bytes of a local during the call.
    _ = unsafe write(descriptor.rawValue, &one, 8)
  }
}
