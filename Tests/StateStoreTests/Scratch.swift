import Foundation
import Glibc

@testable import StateStore

/// A directory of a test's own, removed with it.
final class Scratch: Sendable {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "vmpool-state-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  var database: String { path + "/vmpool.db" }

  func bytes(_ name: String = "vmpool.db") throws -> Data {
    try Data(contentsOf: URL(filePath: path).appending(path: name))
  }

  func replace(_ name: String = "vmpool.db", with bytes: Data) throws {
    try bytes.write(to: URL(filePath: path).appending(path: name))
  }
}

/// A tmpfs of its own, in a directory of its own: can be full and read-only, which root's directories cannot.
final class SmallFileSystem: Sendable {
  private let scratch: Scratch
  var path: String { scratch.path }

  /// Whether this process may mount.
  static let allowed: Bool = {
    guard let scratch = try? Scratch(), mount(scratch.path, "size=64k") else { return false }
    // Safe: the path lives for the call.
    unsafe umount2(scratch.path, Int32(MNT_DETACH))
    return true
  }()

  init(_ options: String) throws {
    scratch = try Scratch()
    guard Self.mount(scratch.path, options) else { throw CocoaError(.fileWriteUnknown) }
  }

  deinit {
    // Safe: as above.
    unsafe umount2(scratch.path, Int32(MNT_DETACH))
  }

  func remount(_ options: String, readOnly: Bool = false) -> Bool {
    Self.mount(path, options, UInt(MS_REMOUNT) | (readOnly ? UInt(MS_RDONLY) : 0))
  }

  private static func mount(_ path: String, _ options: String, _ flags: UInt = 0) -> Bool {
    // Safe: all strings live for the call.
    unsafe options.withCString { unsafe Glibc.mount("tmpfs", path, "tmpfs", flags, $0) } == 0
  }
}

/// Entries and leases that differ where it matters.
enum Sample {
  static func audit(_ action: String, _ subject: String, requestID: String? = nil) -> AuditEntry {
    AuditEntry(who: "127.0.0.1", action: action, subject: subject, requestID: requestID, atMS: 1000, detail: nil)
  }

  /// A lease's id.
  static func id(_ number: Int) -> String {
    let digits = String(number, radix: 16)
    return "lease-" + String(repeating: "0", count: 16 - digits.count) + digits
  }

  static func lease(_ id: String, fence: Int, grantedAtMS: Int = 1000) -> StoredLease {
    StoredLease(
      id: id, pool: "build", vm: "vm-\(fence)", fence: fence, labels: #"{"ci":"ünïcode"}"#, grantedAtMS: grantedAtMS,
      expiresAtMS: grantedAtMS + 1000, maxExpiresAtMS: grantedAtMS + 9000)
  }
}
