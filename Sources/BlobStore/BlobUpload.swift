public import Digests
import LinuxSupport
import SystemPackage

/// One upload: the bytes of a blob as they come, in order.
///
/// An upload that is let go of before `finish` was interrupted: what came is kept if it can be continued, or removed.
///
/// SAFETY (`@unchecked Sendable`): used by one thread at a time, from which it may go on to another.
public final class BlobUpload: @unchecked Sendable {
  /// The hash that the bytes are to have; nil where any will do.
  public let expected: SHA256Digest?
  /// Bytes there are, those of an upload that this one continues among them.
  public private(set) var size: Int

  /// The file's name below `partial`.
  let name: String
  /// Whether it can be continued: nobody else uploads the same blob.
  let isKept: Bool
  private(set) var reserved: Int
  private let store: BlobRepository
  private let file: OwnedDescriptor
  /// Nothing of it is left to be ended.
  var isOver = false

  /// What is reserved at once for an upload of unknown size.
  private static let step = 4 << 20

  init(
    _ store: BlobRepository, _ file: consuming OwnedDescriptor, name: String, expected: SHA256Digest?, isKept: Bool,
    size: Int, reserved: Int
  ) {
    self.store = store
    self.file = file
    self.name = name
    self.expected = expected
    self.isKept = isKept
    self.size = size
    self.reserved = reserved
  }

  deinit { end(isKept: true) }

  /// Takes the next bytes, and writes them to the file.
  public func write(_ bytes: RawSpan) throws(BlobStoreError) {
    let (end, overflow) = size.addingReportingOverflow(bytes.byteCount)
    guard !overflow, end <= store.limits.blobBytes else { throw .tooLarge(limit: store.limits.blobBytes) }
    if end > reserved {
      let more = max(end - reserved, min(Self.step, store.limits.blobBytes - reserved))
      try store.reserve(more)
      reserved += more
    }
    try translating(store.directory.path) { () throws(Errno) in try store.directory.write(bytes, to: file, at: size) }
    size = end
  }

  /// All bytes have come: reads them back, compares them with the hash, and makes them a blob. Takes a second or two for
  /// a gigabyte, and as long as the disk takes. Returns whether the blob is new.
  ///
  /// What has another hash, or cannot be read or forced to the disk, is removed.
  public func finish() throws(BlobStoreError) -> (digest: SHA256Digest, isNew: Bool) {
    do throws(BlobStoreError) {
      let digest = try verified()
      let isNew = try store.publish(self, as: digest)
      if !isNew { end(isKept: false) }
      return (digest, isNew)
    } catch {
      end(isKept: false)
      throw error
    }
  }

  /// Ends the upload for now: what came is kept, if it can be continued.
  public func suspend() { end(isKept: true) }

  /// Removes what came.
  public func discard() { end(isKept: false) }

  private func verified() throws(BlobStoreError) -> SHA256Digest {
    let path = store.directory.path
    let found = try translating(path) { () throws(Errno) in try BlobDirectory.digest(of: file) }
    if let expected, found.digest != expected { throw .digestMismatch(expected: expected, found: found.digest) }
    try translating(path) { () throws(Errno) in try store.directory.seal(file) }
    return found.digest
  }

  private func end(isKept: Bool) {
    if isOver { return }
    isOver = true
    store.end(self, isKept: isKept)
  }
}
