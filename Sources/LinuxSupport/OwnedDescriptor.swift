import CLinux
public import SystemPackage

/// A file descriptor with one owner, closed exactly once: when the owner goes away.
///
/// The corresponding C function is close(2).
public struct OwnedDescriptor: ~Copyable, Sendable {
  /// The number; valid while this value lives.
  public let rawValue: Int32

  /// Takes over `rawValue`, which no other owner may close.
  public init(owning rawValue: Int32) { self.rawValue = rawValue }

  /// Takes over what a shim returned: a descriptor, or a negated errno, which is thrown.
  public init(result: Int32) throws(Errno) {
    guard result >= 0 else { throw Errno(rawValue: -result) }
    self.rawValue = result
  }

  deinit { close(rawValue) }

  /// Has the file system set room aside for the file's first `bytes`, whose size stays what it is: writing there cannot find
  /// the disk full. May take as long as the disk does. The C function is fallocate(2).
  public func setRoomAside(bytes: Int) throws(Errno) {
    try valueOrErrno(clinux_set_room_aside(rawValue, Int64(bytes)))
  }
}

/// Turns a shim's result (a value, or a negated errno) into a value or a thrown errno.
@discardableResult
public func valueOrErrno(_ result: Int32) throws(Errno) -> Int32 {
  guard result >= 0 else { throw Errno(rawValue: -result) }
  return result
}
