import Containers
import Digests

/// What a store has: whole blobs, interrupted uploads, and room that is promised to uploads under way.
struct BlobTables: Sendable {
  struct Blob {
    var size: Int
    var damage: String?
    /// A client put it by itself, to store an image of it. It does not go with another client's image.
    var isAwaited = false
  }

  struct Partial {
    /// Its file's name. No other upload has had it, so that the file can be removed after it is forgotten.
    var name: String
    var size: Int
    var changedMS: Int
    /// Bytes of the whole; nil where no client has said.
    var total: Int?
    /// An upload is writing to it, and its bytes are reserved.
    var isBusy = false
  }

  /// Whole blobs, by name.
  private(set) var blobs = SortedMap<SHA256Digest, Blob>()
  /// Their bytes, kept where they change.
  private(set) var blobBytes = 0
  /// Few: those that are kept are bounded in number, and so are connections.
  var partials: [SHA256Digest: Partial] = [:]
  /// Bytes that uploads under way have, or will have.
  var reserved = 0
  /// What the next file without a name of its own is called by.
  private var nextName = 0

  /// A whole blob.
  subscript(_ digest: SHA256Digest) -> Blob? {
    get { blobs[digest] }
    set {
      blobBytes += (newValue?.size ?? 0) - (blobs[digest]?.size ?? 0)
      blobs[digest] = newValue
    }
  }

  /// Bytes of interrupted uploads.
  var idleBytes: Int { partials.values.reduce(0) { $0 + ($1.isBusy ? 0 : $1.size) } }

  /// Bytes taken, and those that uploads under way will take.
  var usedBytes: Int { blobBytes + idleBytes + reserved }

  /// Whether a blob is there and its bytes are what they should be.
  func isWhole(_ digest: SHA256Digest) -> Bool { self[digest].map { $0.damage == nil } ?? false }

  /// Whether a blob is there and does not go with an image: no client need go on with an upload of it.
  func stays(_ digest: SHA256Digest) -> Bool { isWhole(digest) && self[digest]?.isAwaited == true }

  /// The interrupted upload that has rested for the longest.
  var oldestPartial: SHA256Digest? {
    partials.filter { !$0.value.isBusy }.min { $0.value.changedMS < $1.value.changedMS }?.key
  }

  mutating func newName(_ what: String) -> String {
    defer { nextName += 1 }
    return "\(what)-\(nextName)"
  }

  /// A file that an earlier process has left keeps its name.
  mutating func keep(_ name: String, of digest: SHA256Digest, size: Int, changedMS: Int) {
    partials[digest] = Partial(name: name, size: size, changedMS: changedMS)
    if let number = name.split(separator: "-").last.flatMap({ Int($0) }), number < .max {
      nextName = max(nextName, number + 1)
    }
  }
}
