import Foundation
import Glibc
import Synchronization

@testable import BlobStore
@testable import Digests

/// A directory of a test's own, removed with it.
final class Scratch: Sendable {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "vmpool-blobs-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  var blobs: String { path + "/blobs" }

  /// The names of the files below `partial`.
  var partial: [String] { names(blobs + "/partial") }
  /// The names of the whole blobs' files.
  var whole: [String] { names(blobs).filter { $0 != "partial" } }

  private func names(_ path: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted()
  }
}

/// A tmpfs of its own: can be full, which root's directories cannot.
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

  private static func mount(_ path: String, _ options: String) -> Bool {
    // Safe: all strings live for the call.
    unsafe options.withCString { unsafe Glibc.mount("tmpfs", path, "tmpfs", 0, $0) } == 0
  }
}

/// Bytes that differ from others' by their seed.
func bytes(_ count: Int, seed: UInt8 = 1) -> [UInt8] {
  (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 131 &+ ($0 >> 8)) ^ seed }
}

extension BlobUpload {
  /// In pieces, as they come over a network.
  func write(_ bytes: some Collection<UInt8>, piece: Int = 1000) throws {
    var rest = Array(bytes)[...]
    while !rest.isEmpty {
      let part = Array(rest.prefix(piece))
      try write(unsafe part.span.bytes)
      rest = rest.dropFirst(piece)
    }
  }
}

extension BlobRepository {
  /// Uploads all of it.
  @discardableResult
  func put(_ bytes: [UInt8]) throws -> SHA256Digest {
    let upload = try begin(SHA256Digest(of: bytes), announced: bytes.count)
    try upload.write(bytes)
    return try upload.finish().digest
  }

  func contents(_ digest: SHA256Digest) throws -> [UInt8] {
    let file = try open(digest)
    var bytes = [UInt8](repeating: 0, count: Int(file.size))
    var span = bytes.mutableSpan
    var target = unsafe span.mutableBytes
    let count = try file.read(at: 0, into: &target)
    return Array(bytes.prefix(count))
  }
}
