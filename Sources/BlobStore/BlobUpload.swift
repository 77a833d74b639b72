public import Digests
import LinuxSupport
import SystemPackage

/// Looks at the first bytes of an upload and may refuse it, before the rest is taken.
public struct BlobExamination: Sendable {
  /// How many bytes it wants to see; it gets fewer of a blob that is shorter.
  public var count: Int
  /// Why the blob is refused, as a sentence for its sender; nil if it is not. On the thread of the upload.
  public var refusal: @Sendable (_ head: [UInt8]) -> String?

  /// An examination of the first `count` bytes.
  public init(count: Int, _ refusal: @escaping @Sendable (_ head: [UInt8]) -> String?) {
    self.count = count
    self.refusal = refusal
  }
}

/// One upload: the bytes of a blob as they come, in order.
///
/// An upload that is released before `finish` was interrupted: its bytes are kept if it can be continued, else removed. An
/// error of `write`, `finishPart` or `finish` refuses the upload, and none of its bytes stay. The bytes of an earlier upload
/// stay, unless there is no room for the blob or it is not wanted.
///
/// SAFETY (`@unchecked Sendable`): used by one thread at a time, from which it may go on to another.
public final class BlobUpload: @unchecked Sendable {
  /// The hash that the bytes are to have; nil where any will do.
  public let expected: SHA256Digest?
  /// Bytes there are, those of an upload that this one continues among them.
  public private(set) var size: Int

  /// The file's name below `partial`.
  let name: String
  /// Bytes of the whole; nil where the client did not say.
  let total: Int?
  /// Whether its client goes on to store an image of it: an upload whose hash is not known is an image's own.
  var isAwaited: Bool { expected != nil }
  /// Whether it can be continued: no other client uploads the same blob.
  let isKept: Bool
  private(set) var reserved: Int
  private let store: BlobRepository
  private let file: OwnedDescriptor
  /// Bytes that an earlier upload had brought.
  private let origin: Int
  /// Where the announced bytes end; nil where their number is not known.
  private let end: Int?
  /// Not yet done.
  private var examination: BlobExamination?
  /// Nothing of it is left to be ended.
  var isOver = false

  /// What is reserved at once for an upload of unknown size.
  private static let step = 4 << 20

  init(
    _ store: BlobRepository, _ file: consuming OwnedDescriptor, name: String, expected: SHA256Digest?, isKept: Bool,
    size: Int, end: Int?, total: Int?, reserved: Int, _ examination: BlobExamination?
  ) {
    self.store = store
    self.file = file
    self.name = name
    self.expected = expected
    self.isKept = isKept
    self.size = size
    origin = size
    self.end = end
    self.total = total
    self.examination = examination
    self.reserved = reserved
  }

  deinit { end(.interrupted) }

  /// Takes the next bytes, and writes them to the file. An error ends the upload.
  public func write(_ bytes: RawSpan) throws(BlobStoreError) {
    do throws(BlobStoreError) {
      try append(bytes)
      if let examination, size >= examination.count { try examine() }
    } catch {
      end(.refused(error))
      throw error
    }
  }

  private func append(_ bytes: RawSpan) throws(BlobStoreError) {
    let (newSize, overflow) = size.addingReportingOverflow(bytes.byteCount)
    guard !overflow, newSize <= store.limits.blobBytes else { throw .tooLarge(limit: store.limits.blobBytes) }
    if let end, newSize > end { throw .tooLong(announced: end - origin) }
    if newSize > reserved {
      let more = max(newSize - reserved, min(Self.step, store.limits.blobBytes - reserved))
      try store.reserve(more, beside: reserved)
      reserved += more
    }
    try translating(store.directory.path) { () throws(Errno) in try store.directory.write(bytes, to: file, at: size) }
    size = newSize
  }

  private func examine() throws(BlobStoreError) {
    guard let examination = examination.take() else { return }
    let path = store.directory.path
    let head = try translating(path) { () throws(Errno) in try BlobDirectory.head(of: file, examination.count) }
    if let reason = examination.refusal(head) { throw .refused(reason) }
  }

  /// All bytes have come: reads them back, compares them with the hash, and makes them a blob. Takes a second or two for
  /// a gigabyte, and as long as the disk takes. Returns whether the blob is new.
  ///
  /// `willPublish` learns the hash before the blob is there, or is found to be there.
  ///
  /// What has another hash, or cannot be read or forced to the disk, is removed.
  public func finish(
    willPublish: (SHA256Digest) -> Void = { _ in }
  ) throws(BlobStoreError) -> (digest: SHA256Digest, isNew: Bool) {
    do throws(BlobStoreError) {
      try checkLength()
      try examine()
      let digest = try verified()
      willPublish(digest)
      let isNew = try store.publish(self, as: digest)
      if !isNew { end(.discarded) }
      return (digest, isNew)
    } catch {
      end(.refused(error))
      throw error
    }
  }

  /// All bytes of a part have come: keeps them, so that the next part can go on.
  public func finishPart() throws(BlobStoreError) {
    do throws(BlobStoreError) {
      try checkLength()
      end(.interrupted)
    } catch {
      end(.refused(error))
      throw error
    }
  }

  /// Ends the upload for now: what came is kept, if it can be continued.
  public func suspend() { end(.interrupted) }

  /// Removes what came.
  public func discard() { end(.discarded) }

  private func checkLength() throws(BlobStoreError) {
    guard size > 0 else { throw .empty }
    if let end, size < end { throw .tooShort(came: size - origin, announced: end - origin) }
  }

  private func verified() throws(BlobStoreError) -> SHA256Digest {
    let path = store.directory.path
    let found = try translating(path) { () throws(Errno) in try BlobDirectory.digest(of: file) }
    if let expected, found.digest != expected { throw .digestMismatch(expected: expected, found: found.digest) }
    try translating(path) { () throws(Errno) in
      try store.directory.seal(file, as: isAwaited ? .awaited : .verified)
    }
    return found.digest
  }

  private enum End {
    case interrupted
    case discarded
    case refused(BlobStoreError)
  }

  private func end(_ how: End) {
    if isOver { return }
    isOver = true
    switch how {
    case .interrupted: store.end(self, isKept: true)
    case .discarded: store.end(self, isKept: false)
    case .refused(.tooLong), .refused(.tooShort): store.end(self, isKept: rollBack())
    // What there is no room for is in the way of others, and what is not wanted need not go on.
    case .refused: store.end(self, isKept: false)
    }
  }

  /// Forgets the bytes of this upload. False when there were none before it, or they cannot be cut off.
  private func rollBack() -> Bool {
    guard origin > 0 else { return false }
    do throws(Errno) {
      try store.directory.truncate(file, to: origin)
      size = origin
      return true
    } catch {
      return false
    }
  }
}
