import APIModel
public import BlobStore
import Containers
import Digests
import GuestImages
import JSONCodec
import LinuxSupport
import PoolManager
import StateStore
import Synchronization
import SystemPackage

/// Where images that were stored over the API are kept, so that they outlive the process. Called on any thread.
public protocol ImageJournal: Sendable {
  /// An image is stored, in the place of what had its name.
  func stored(_ image: StoredImage, by origin: Origin) throws(JournalFailure)
  /// An image is deleted.
  func deletedImage(_ name: String, by origin: Origin) throws(JournalFailure)
  /// A blob has come or is deleted.
  func noted(blob digest: String, sizeBytes: Int?, by origin: Origin) throws(JournalFailure)
}

/// All images by name: those shipped with the server, and those stored over the API, whose bytes are blobs.
///
/// An image holds its blobs open, so that a VM being made of it has them whatever becomes of the image's name.
public final class ImageCatalogue: Sendable {
  /// How many images can be stored: each holds the files of its parts open.
  static let limit = 1000

  /// Where the bytes are.
  public let blobs: BlobRepository
  private let journal: (any ImageJournal)?
  /// Guards the stored images. The locks of the blobs and the journal are taken under it, so that no image names a blob
  /// that is being deleted.
  private let guarded = Mutex(Tables())

  /// The stored images, and who uses which blob.
  private struct Tables {
    private(set) var entries = SortedMap<String, StoredEntry>()
    /// The names of the images that name each blob.
    private var users: [SHA256Digest: Set<String>] = [:]

    subscript(_ name: String) -> StoredEntry? {
      get { entries[name] }
      set {
        for digest in entries[name]?.digests ?? [] {
          users[digest]?.remove(name)
          if users[digest]?.isEmpty == true { users[digest] = nil }
        }
        for digest in newValue?.digests ?? [] { users[digest, default: []].insert(name) }
        entries[name] = newValue
      }
    }

    func users(of digest: SHA256Digest) -> [String] { users[digest]?.sorted() ?? [] }

    /// The blobs of an image that was replaced or deleted, and that no image names any more.
    func unused(_ old: StoredEntry?) -> [SHA256Digest] { old?.digests.filter { users[$0] == nil } ?? [] }
  }

  /// The images shipped with the server; those stored live in `blobs`.
  public init(blobs: BlobRepository, journal: (any ImageJournal)?) {
    self.blobs = blobs
    self.journal = journal
  }

  // MARK: Looking

  /// What `image` means wherever something is made of one.
  func image(_ name: String) throws(APIProblem) -> GuestImage {
    if let guest = BuiltinGuest.named(name) { return .builtin(guest) }
    guard let entry = entry(name) else {
      throw .invalid("/image", "There is no image \(name.clipped()); GET /v1/images lists them.")
    }
    return entry.image
  }

  /// A stored image; nil where there is none.
  func entry(_ name: String) -> StoredEntry? { guarded.withLock { $0[name] } }

  /// Every stored image.
  var entries: [StoredEntry] { guarded.withLock { Array($0.entries.values) } }

  /// At most `limit` stored images behind the one called `name` (nil: from the first), by name, and whether more follow.
  func page(after name: String?, limit: Int) -> (entries: [StoredEntry], goesOn: Bool) {
    let (items, goesOn) = guarded.withLock { $0.entries.page(after: name, limit: limit) }
    return (items.map(\.value), goesOn)
  }

  /// The names of the images that name each of some blobs.
  func users(of digests: [SHA256Digest]) -> [SHA256Digest: [String]] {
    guarded.withLock { images in
      Dictionary(digests.map { ($0, images.users(of: $0)) }) { first, _ in first }
    }
  }

  // MARK: Changing

  /// Refuses names that stored images cannot have.
  func check(_ name: String) throws(APIProblem) {
    guard BuiltinGuest.named(name) == nil else {
      throw APIProblem(
        .builtinImage, "The image \(name) is shipped with the server, and can be neither replaced nor deleted.")
    }
  }

  /// Finds out what a manifest makes; nothing is stored yet.
  func prepared(_ name: String, _ manifest: ImageManifest) throws(APIProblem) -> StoredEntry {
    let parts = try parts(manifest)
    let image: GuestImage
    do throws(ImageError) {
      image = try GuestImage(name: name, parts, kind: manifest.kind)
    } catch {
      throw APIProblem(.invalidImage, "\(error)".asSentence)
    }
    return try StoredEntry(
      name: name, kind: image.description.kind, manifest: manifest, createdAtMS: StateDatabase.wallClockMS(),
      image: image)
  }

  private func parts(_ manifest: ImageManifest) throws(APIProblem) -> ImageParts {
    var blocks: [String: ImagePart] = [:]
    for (name, digest) in manifest.blocks { blocks[name] = try part(digest, at: "/block/" + name) }
    return ImageParts(
      main: try part(manifest.kernel, at: "/kernel"),
      initramfs: try manifest.initramfs.map { digest throws(APIProblem) in try part(digest, at: "/initramfs") },
      blocks: blocks, commandLine: manifest.commandLine, flat: manifest.flat)
  }

  private func part(_ digest: SHA256Digest, at pointer: String) throws(APIProblem) -> ImagePart {
    do throws(BlobStoreError) {
      return ImagePart(FileBytes(try blobs.open(digest), identity: digest.description))
    } catch .noSuchBlob {
      throw .invalid(pointer, "There is no blob \(digest); PUT it at /v1/blobs/\(digest) first.")
    } catch {
      throw APIProblem(error)
    }
  }

  /// Stores an image, in the place of what has its name. Returns what is there then, and whether the name is new.
  func store(
    _ entry: StoredEntry, _ condition: Condition, by origin: Origin
  ) throws(APIProblem) -> (entry: StoredEntry, isNew: Bool) {
    let (old, unused) = try guarded.withLock { images throws(APIProblem) in
      let old = images[entry.name]
      guard old != nil || images.entries.count < Self.limit else {
        throw APIProblem(.resourcesExhausted, "The server keeps at most \(Self.limit) images; delete some.")
      }
      // They may have gone since they were opened.
      for digest in entry.manifest.digests {
        do throws(BlobStoreError) { _ = try blobs.size(of: digest) } catch { throw APIProblem(error) }
      }
      // Last: what would be refused without a condition is refused for what it is (RFC 9110, 13.2.1).
      try condition.check(old?.tag, "The image \(entry.name)")
      if let old, old.tag == entry.tag, old.image == entry.image { return (Optional(old), [SHA256Digest]()) }
      do throws(JournalFailure) {
        try journal?.stored(entry.stored, by: origin)
      } catch {
        throw APIProblem(error)
      }
      images[entry.name] = entry
      return (old, images.unused(old))
    }
    remove(unused, by: origin)
    guard let old, old.tag == entry.tag, old.image == entry.image else { return (entry, old == nil) }
    return (old, false)
  }

  /// Deletes an image, and the blobs that nothing else names.
  func delete(_ name: String, _ condition: Condition, by origin: Origin) throws(APIProblem) {
    let unused = try guarded.withLock { images throws(APIProblem) in
      guard let old = images[name] else { throw .noSuchImage(name) }
      try condition.check(old.tag, "The image \(name)")
      do throws(JournalFailure) {
        try journal?.deletedImage(name, by: origin)
      } catch {
        throw APIProblem(error)
      }
      images[name] = nil
      return images.unused(old)
    }
    remove(unused, by: origin)
  }

  /// Deletes blobs that are not used. One that has come to be used again meanwhile stays, and so does one that cannot be
  /// deleted: it is listed, and can be deleted later.
  func remove(_ digests: [SHA256Digest], by origin: Origin) {
    for digest in digests { try? delete(digest, by: origin) }
  }

  // MARK: Blobs

  /// Deletes a blob that no image names.
  func delete(_ digest: SHA256Digest, by origin: Origin) throws(APIProblem) {
    try guarded.withLock { images throws(APIProblem) in
      let users = images.users(of: digest)
      guard users.isEmpty else {
        throw APIProblem(
          .blobInUse, "The blob \(digest) belongs to \(users.joined(separator: ", ")); delete those images instead.")
      }
      do throws(BlobStoreError) {
        try blobs.delete(digest)
      } catch {
        throw APIProblem(error)
      }
      try note(digest, nil, by: origin)
    }
  }

  /// Records that a blob has come (or gone).
  func note(_ digest: SHA256Digest, _ size: Int?, by origin: Origin) throws(APIProblem) {
    do throws(JournalFailure) {
      try journal?.noted(blob: digest.description, sizeBytes: size, by: origin)
    } catch {
      throw APIProblem(error)
    }
  }

  /// The unusable images that name a blob which has come again, prepared anew.
  func mended(by digest: SHA256Digest) -> [StoredEntry] {
    entries.filter { $0.image.reasonUnusable != nil && $0.manifest.digests.contains(digest) }.compactMap { old in
      var entry = try? prepared(old.name, old.manifest)
      entry?.createdAtMS = old.createdAtMS
      return entry
    }
  }

  /// Puts an image that was mended in the place of the unusable one.
  func replace(_ entry: StoredEntry) {
    guarded.withLock { images in
      if images[entry.name]?.tag == entry.tag { images[entry.name] = entry }
    }
  }

  // MARK: The start

  /// Brings back an image that was stored before the server started. One whose blobs are not what they were is there
  /// all the same, but unusable; says why.
  public func recover(_ stored: StoredImage) throws(ImageRecoveryError) -> ImageRecoveryError? {
    let manifest: ImageManifest
    do throws(APIProblem) {
      manifest = try ImageManifest(stored.manifest)
    } catch {
      throw ImageRecoveryError(image: stored.name, detail: error.detail)
    }
    guard let kind = GuestKind(rawValue: stored.kind) else {
      throw ImageRecoveryError(image: stored.name, detail: "this release knows no images of the kind \(stored.kind)")
    }
    var entry: StoredEntry
    var failure: ImageRecoveryError?
    do throws(APIProblem) {
      do throws(APIProblem) {
        entry = try prepared(stored.name, manifest)
      } catch {
        failure = ImageRecoveryError(image: stored.name, detail: error.detail)
        entry = try StoredEntry(
          name: stored.name, kind: kind, manifest: manifest, createdAtMS: stored.createdAtMS,
          image: .unusable(name: stored.name, kind, reason: error.detail))
      }
    } catch {
      throw ImageRecoveryError(image: stored.name, detail: error.detail)
    }
    entry.createdAtMS = stored.createdAtMS
    guarded.withLock { [entry] in $0[stored.name] = entry }
    return failure
  }
}

/// Why an image that was stored before the server started is unusable, or not there.
public struct ImageRecoveryError: Error, Sendable, CustomStringConvertible {
  /// Its name.
  public let image: String
  /// A sentence.
  public let detail: String

  /// What happened, and what to do next.
  public var description: String { "image \(image): \(detail)" }
}

/// A stored image.
struct StoredEntry: Sendable {
  let name: String
  let kind: GuestKind
  let manifest: ImageManifest
  /// The blobs that it names.
  let digests: Set<SHA256Digest>
  var createdAtMS: Int
  let image: GuestImage
  /// The manifest as JSON.
  let document: [UInt8]
  /// The value of `ETag`: equal for equal manifests.
  let tag: String

  init(
    name: String, kind: GuestKind, manifest: ImageManifest, createdAtMS: Int, image: GuestImage
  ) throws(APIProblem) {
    self.name = name
    self.kind = kind
    self.manifest = manifest
    digests = manifest.digests
    self.createdAtMS = createdAtMS
    self.image = image
    do throws(JSONEncodingError) {
      document = try JSON.encode(manifest.document)
    } catch {
      throw APIProblem(.internalError, "\(error)".asSentence)
    }
    tag = "\"\(SHA256Digest(of: document).hex.prefix(32))\""
  }

  var stored: StoredImage {
    StoredImage(name: name, kind: kind.rawValue, manifest: document, createdAtMS: createdAtMS)
  }
}

extension APIProblem {
  static func noSuchImage(_ name: String) -> APIProblem {
    APIProblem(.imageNotFound, "There is no image \(name); GET /v1/images lists them.")
  }
}
