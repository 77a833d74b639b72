import Digests
import GuestImages
import JSONCodec
import StateStore

/// A stored image.
public struct StoredEntry: Sendable {
  /// The name that clients give it.
  public let name: String
  /// What it was recognised as.
  public let kind: GuestKind
  /// What it is made of.
  public let manifest: ImageManifest
  /// The blobs that it names.
  public let digests: Set<SHA256Digest>
  /// When it was stored: Unix milliseconds.
  public internal(set) var createdAtMS: Int
  /// What VMs are made of.
  public let image: GuestImage
  /// The manifest as JSON.
  public let document: [UInt8]
  /// The value of `ETag`: equal for equal manifests.
  public let tag: String

  init(
    name: String, kind: GuestKind, manifest: ImageManifest, createdAtMS: Int, image: GuestImage
  ) throws(JSONEncodingError) {
    self.name = name
    self.kind = kind
    self.manifest = manifest
    digests = manifest.digests
    self.createdAtMS = createdAtMS
    self.image = image
    document = try JSON.encode(manifest.document)
    tag = "\"\(SHA256Digest(of: document).hex.prefix(32))\""
  }

  /// Bytes of all its parts.
  var sizeBytes: Int { Int(clamping: image.description.sizeBytes) }

  /// What the journal keeps of it.
  public var stored: StoredImage {
    StoredImage(name: name, kind: kind.rawValue, manifest: document, createdAtMS: createdAtMS)
  }
}
