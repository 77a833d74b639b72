import CLinux
import Glibc
public import SystemPackage

/// Rules about the files that a thread may open, for the kernel's Landlock. They bind no file that is open already.
public struct FileRules: ~Copyable, Sendable {
  /// What may be done with what stands below a directory.
  public enum Access: Sendable {
    /// Read files and list directories.
    case read
    /// Remove what is there, such as a socket.
    case remove
    /// Everything but executing, and making devices and sockets.
    case change
  }

  /// The version of the kernel's Landlock; nil where it has none, or does not use it (see the boot parameter `lsm=`).
  public static var version: Int? {
    let version = clinux_landlock_version()
    return version > 0 ? Int(version) : nil
  }

  private let ruleset: OwnedDescriptor
  private let handled: UInt64

  /// Rules that allow nothing yet. Throws ENOSYS or EOPNOTSUPP where there is no Landlock.
  public init() throws(Errno) {
    handled = Self.accesses(version: Self.version ?? 1)
    ruleset = try OwnedDescriptor(result: clinux_landlock_ruleset(handled))
  }

  /// Allows `access` to `path` and what is below it. A path that does not exist allows nothing.
  public borrowing func allow(_ access: Access, below path: String) throws(Errno) {
    // Safe: the path lives for the call.
    let result = unsafe clinux_landlock_allow(
      ruleset.rawValue, path, Self.bits(access) & handled, Self.ofFiles & handled)
    if result < 0, result != -ENOENT { throw Errno(rawValue: -result) }
  }

  /// From now on the calling thread, and those that it starts, may open what the rules allow, and no more. The thread must have
  /// given up new privileges.
  public borrowing func restrictThread() throws(Errno) {
    let result = clinux_landlock_restrict(ruleset.rawValue)
    if result < 0 { throw Errno(rawValue: -result) }
  }

  // LANDLOCK_ACCESS_FS_…, macros that Swift does not import. Source: include/uapi/linux/landlock.h.
  private static let writeFile: UInt64 = 1 << 1
  private static let readFile: UInt64 = 1 << 2
  private static let readDirectory: UInt64 = 1 << 3
  private static let removeDirectory: UInt64 = 1 << 4
  private static let removeFile: UInt64 = 1 << 5
  private static let makeDirectory: UInt64 = 1 << 7
  private static let makeRegular: UInt64 = 1 << 8
  private static let refer: UInt64 = 1 << 13
  private static let truncate: UInt64 = 1 << 14
  private static let ofFiles = writeFile | readFile | truncate

  /// All accesses that a version knows: the first 13, REFER from 2, TRUNCATE from 3, IOCTL_DEV from 5 on.
  private static func accesses(version: Int) -> UInt64 {
    let count: UInt64 =
      switch version {
      case ...1: 13
      case 2: 14
      case 3, 4: 15
      default: 16
      }
    return 1 << count - 1
  }

  private static func bits(_ access: Access) -> UInt64 {
    switch access {
    case .read: readFile | readDirectory
    case .remove: removeFile
    case .change:
      readFile | readDirectory | writeFile | truncate | removeFile | removeDirectory | makeDirectory | makeRegular
        | refer
    }
  }
}
