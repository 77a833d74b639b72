public import Digests
import SystemPackage

/// Why a blob was not taken, found or deleted. What was asked for then did not happen.
public enum BlobStoreError: Error, Sendable, Equatable, CustomStringConvertible {
  /// There is no blob of that name.
  case noSuchBlob(SHA256Digest)
  /// Its file is not what its name says.
  case damaged(SHA256Digest, reason: String)
  /// A blob has one byte at least.
  case empty
  /// More bytes came than were announced; so many were.
  case tooLong(announced: Int)
  /// Fewer bytes came than were announced.
  case tooShort(came: Int, announced: Int)
  /// What the first bytes say is not wanted; says why.
  case refused(String)
  /// A blob may not have more than so many bytes.
  case tooLarge(limit: Int)
  /// All blobs together may not have more than so many bytes.
  case quotaUsedUp(limit: Int)
  /// Uploads under way have announced so many of the bytes that all blobs together may have.
  case roomAnnounced(bytes: Int, limit: Int)
  /// The file system, or the user's share of it, is full.
  case diskFull(path: String, reason: String)
  /// So many bytes of the blob are there: an upload goes on from there, or begins anew.
  case wrongOffset(Int)
  /// The upload was begun as one of `was` bytes, and a part says another number.
  case otherTotal(Int, was: Int)
  /// Another client is uploading this blob.
  case uploadInProgress(SHA256Digest)
  /// The bytes that came have another hash than was said.
  case digestMismatch(expected: SHA256Digest, found: SHA256Digest)
  /// Anything else that the kernel reported.
  case failed(path: String, reason: String)

  /// What happened, to what, and what to do next.
  public var description: String {
    switch self {
    case .noSuchBlob(let digest): "there is no blob \(digest); upload it first"
    case .damaged(let digest, let reason): "the blob \(digest) is damaged: \(reason); upload it again"
    case .empty: "the upload has no bytes; send the file's"
    case .tooLong(let announced):
      "the body is longer than the \(announced) bytes that were announced; nothing of it was kept, so send it again"
    case .tooShort(let came, let announced):
      "the body has \(came) bytes, and \(announced) were announced; nothing of it was kept, so send it again"
    case .refused(let reason): reason
    case .tooLarge(let limit):
      "a blob may have at most \(limit) bytes; send less, or start the server with a higher --max-image-mib, "
        + "and with a --max-blobs-mib that is no lower"
    case .quotaUsedUp(let limit):
      "all blobs together may have at most \(limit) bytes; delete some, or start the server with a higher "
        + "--max-blobs-mib"
    case .roomAnnounced(let bytes, let limit):
      "all blobs together may have at most \(limit) bytes, and uploads under way have announced \(bytes) of them; try again "
        + "when those have ended"
    case .diskFull(let path, let reason):
      "there is no room for the blob in \(path): \(reason); delete some blobs, or make the file system larger"
    case .wrongOffset(let offset):
      "the upload goes on at byte \(offset), of which nothing is there yet; send the bytes from there on"
    case .otherTotal(let total, let was):
      "the upload was begun as one of \(was) bytes, and this part is of \(total); go on with parts of \(was), or begin anew "
        + "at byte 0"
    case .uploadInProgress(let digest): "another client is uploading \(digest); wait for that to end"
    case .digestMismatch(let expected, let found):
      "the bytes that came are \(found), not \(expected); nothing of them was kept, so send them all again"
    case .failed(let path, let reason): "\(path) could not be used: \(reason); look at the disk and the kernel's log"
    }
  }
}

/// Returns what `body` returns. Throws the kernel's error for the file at `path` as a `BlobStoreError`.
func translating<Value: ~Copyable>(
  _ path: String, _ body: () throws(Errno) -> Value
) throws(BlobStoreError) -> Value {
  do throws(Errno) {
    return try body()
  } catch {
    switch error {
    case .noSpace, .diskQuotaExceeded, .fileTooLarge: throw .diskFull(path: path, reason: "\(error)")
    default: throw .failed(path: path, reason: "\(error)")
    }
  }
}
