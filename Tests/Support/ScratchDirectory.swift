import Foundation
import Glibc

/// A directory of a test's own, removed with this value.
public final class ScratchDirectory: Sendable {
  /// Its absolute path.
  public let path: String

  /// Makes an empty directory among the temporary files.
  public init() throws {
    path = NSTemporaryDirectory() + "vmpool-test-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// The path of a file or directory in it, which need not exist.
  public func path(of name: String) -> String { path + "/" + name }

  /// The names of what a directory in it holds, in order; none where there is no such directory.
  public func names(in directory: String = "") -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: path(of: directory))) ?? []).sorted()
  }

  /// The bytes of a file in it.
  public func bytes(of name: String) throws -> Data { try Data(contentsOf: URL(filePath: path(of: name))) }

  /// Writes a file in it, and returns its path.
  @discardableResult
  public func write(_ bytes: some DataProtocol, to name: String) throws -> String {
    try Data(bytes).write(to: URL(filePath: path(of: name)))
    return path(of: name)
  }
}

/// A tmpfs of a test's own: can be full and read-only, which root's directories cannot.
public final class SmallFileSystem: Sendable {
  private let directory: ScratchDirectory

  /// Where it is mounted.
  public var path: String { directory.path }

  /// Whether this process may mount.
  public static let allowed: Bool = (try? SmallFileSystem("size=64k")) != nil

  /// Mounts it with tmpfs's options, such as `size=64k`.
  public init(_ options: String) throws {
    directory = try ScratchDirectory()
    guard Self.mount(directory.path, options) else { throw CocoaError(.fileWriteUnknown) }
  }

  deinit {
    // Safe: the path lives for the call.
    unsafe umount2(directory.path, Int32(MNT_DETACH))
  }

  /// Mounts it anew with other options. Returns whether the kernel did.
  public func remount(_ options: String, readOnly: Bool = false) -> Bool {
    Self.mount(path, options, flags: UInt(MS_REMOUNT) | (readOnly ? UInt(MS_RDONLY) : 0))
  }

  private static func mount(_ path: String, _ options: String, flags: UInt = 0) -> Bool {
    // Safe: all strings live for the call.
    unsafe options.withCString { unsafe Glibc.mount("tmpfs", path, "tmpfs", flags, $0) } == 0
  }
}
