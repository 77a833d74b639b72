import Access
import BlobStore
import Digests
import GuestImages
import JSONCodec
import PoolManager

/// Why an image or a blob was not stored, changed or deleted. What was there is as it was.
public enum ImageRefusal: Error, Sendable, CustomStringConvertible {
  /// There is no stored image of that name.
  case noSuchImage(String)
  /// The image of that name is shipped with the server.
  case builtin(String)
  /// So many images are stored, and no more may be.
  case tooMany(limit: Int)
  /// So many parts of images are stored, and no more may be: each is an open file.
  case tooManyParts(limit: Int)
  /// The manifests of images have so many bytes, and may have no more: they are kept in memory.
  case tooLongManifests(limit: Int)
  /// Its tenant's images may not have so many bytes.
  case quota(QuotaRefusal)
  /// The member of the manifest at `pointer` names a blob that is not there.
  case noSuchBlob(SHA256Digest, pointer: String)
  /// The bytes make no image.
  case invalid(ImageError)
  /// The image is not as its client expects.
  case precondition(PreconditionFailure)
  /// Pools use the image.
  case imageInUse(String, pools: [String])
  /// A pool that uses the image cannot run what would take its place.
  case unfit(pool: String, SpecificationError)
  /// Images name the blob.
  case blobInUse(SHA256Digest, images: [String])
  /// The blob could not be read, written or deleted.
  case blob(BlobStoreError)
  /// The change could not be recorded.
  case journal(JournalFailure)
  /// The manifest could not be written as JSON.
  case unencodable(JSONEncodingError)

  /// What happened, to what, and what to do next.
  public var description: String {
    switch self {
    case .noSuchImage(let name): "there is no image \(name)"
    case .builtin(let name):
      "the image \(name) is shipped with the server, and can be neither replaced nor deleted"
    case .tooMany(let limit): "the server keeps at most \(limit) images; delete some"
    case .tooManyParts(let limit): "the server keeps at most \(limit) parts of images; delete some images"
    case .tooLongManifests(let limit):
      "the server keeps at most \(limit) bytes of images' manifests; delete some images"
    case .quota(let refusal): "\(refusal)"
    case .noSuchBlob(let digest, _): "there is no blob \(digest); store it first"
    case .invalid(let error): "\(error)"
    case .precondition(let failure): "\(failure)"
    case .imageInUse(let name, let pools):
      "the image \(name) is used by \(pools.joined(separator: ", ")); delete those pools first"
    case .unfit(let pool, let error): "the pool \(pool) cannot run it: \(error)"
    case .blobInUse(let digest, let images):
      "the blob \(digest) belongs to \(images.joined(separator: ", ")); delete those images instead"
    case .blob(let error): "\(error)"
    case .journal(let failure): "\(failure)"
    case .unencodable(let error): "\(error)"
    }
  }
}

/// Why an image that was stored before the server started is unusable, or not there.
public struct ImageRecoveryError: Error, Sendable, CustomStringConvertible {
  /// Its name.
  public let image: String
  /// What happened, and what to do next.
  public let detail: String

  /// The same, with the image's name.
  public var description: String { "image \(image): \(detail)" }
}
