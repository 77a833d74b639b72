import TestSupport

@testable import BlobStore
@testable import Digests

typealias Scratch = ScratchDirectory
typealias SmallFileSystem = TestSupport.SmallFileSystem

extension ScratchDirectory {
  var blobs: String { path(of: "blobs") }

  /// The names of the files below `partial`.
  var partial: [String] { names(in: "blobs/partial") }
  /// The names of the whole blobs' files.
  var whole: [String] { names(in: "blobs").filter { $0 != "partial" } }
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
