import APIModel
import Access
import BlobStore
import Containers
import Digests
import GuestImages
import JSONCodec
import PoolManager
import StateStore
import Synchronization

/// All images by name: those shipped with the server, and those stored over the API, whose bytes are blobs.
///
/// An image holds its blobs open, so that a VM being made of it has them even if the image's name is given to another.
public final class ImageCatalogue: Sendable {
  /// How many images can be stored: each holds the files of its parts open.
  static let limit = 1000
  /// How many files all of them together can hold open: an image of many parts holds many.
  static let fileLimit = 4000
  /// How many bytes all manifests together can have, as JSON: they are kept in memory, and a page can hold all of them.
  static let manifestLimit = 8 << 20

  /// Where the bytes are.
  public let blobs: BlobRepository
  private let journal: (any ImageJournal)?
  /// A change of images or blobs holds it, from its look at them until the change is recorded and in force. So no image names
  /// a blob that is being deleted. Recording waits for a disk, so what only reads never takes this lock. The locks of the
  /// blobs, the journal and `guarded` are taken under it.
  private let changes = Mutex(())
  /// Guards the stored images, for as long as a look at them takes; a leaf. They change under `changes` alone.
  private let guarded = Mutex(Tables())

  /// The stored images, and who uses which blob.
  private struct Tables {
    private(set) var entries = SortedMap<String, StoredEntry>()
    /// The names of the images that name each blob.
    private var users: [SHA256Digest: Set<String>] = [:]
    /// How many files all images hold open.
    private(set) var files = 0
    /// How many bytes all manifests have.
    private(set) var manifestBytes = 0
    /// How many bytes each tenant's images have.
    private(set) var bytes: [Tenant: Int] = [:]
    /// How many requests under way need each blob, and which of these blobs are to go once no request needs them.
    private var holds: [SHA256Digest: Int] = [:]
    private var postponed: Set<SHA256Digest> = []

    subscript(_ name: String) -> StoredEntry? {
      get { entries[name] }
      set {
        for digest in entries[name]?.digests ?? [] {
          users[digest]?.remove(name)
          if users[digest]?.isEmpty == true { users[digest] = nil }
        }
        for digest in newValue?.digests ?? [] { users[digest, default: []].insert(name) }
        files += (newValue?.digests.count ?? 0) - (entries[name]?.digests.count ?? 0)
        manifestBytes += (newValue?.document.count ?? 0) - (entries[name]?.document.count ?? 0)
        let tenant = Tenant.split(name).tenant
        bytes[tenant, default: 0] += (newValue?.sizeBytes ?? 0) - (entries[name]?.sizeBytes ?? 0)
        entries[name] = newValue
      }
    }

    func users(of digest: SHA256Digest) -> [String] { users[digest]?.sorted() ?? [] }

    mutating func hold(_ digests: Set<SHA256Digest>) {
      for digest in digests { holds[digest, default: 0] += 1 }
    }

    /// Returns the blobs that are to go now.
    mutating func release(_ digests: Set<SHA256Digest>) -> [SHA256Digest] {
      for digest in digests { holds[digest] = holds[digest].flatMap { $0 > 1 ? $0 - 1 : nil } }
      let freed = postponed.filter { holds[$0] == nil }
      postponed.subtract(freed)
      return Array(freed)
    }

    /// Whether a request needs the blob, so that it may go only later.
    mutating func postpones(_ digest: SHA256Digest) -> Bool {
      guard holds[digest] != nil else { return false }
      postponed.insert(digest)
      return true
    }

    /// The blobs of an image that was replaced or deleted, and that no image names any more.
    func unused(_ old: StoredEntry?) -> [SHA256Digest] { old?.digests.filter { users[$0] == nil } ?? [] }
  }

  /// The images shipped with the server; those stored live in `blobs`.
  public init(blobs: BlobRepository, journal: (any ImageJournal)?) {
    self.blobs = blobs
    self.journal = journal
  }

  // MARK: Looking

  /// What `image` means wherever a tenant makes something of one.
  public func image(_ name: String, of tenant: Tenant = .standard) throws(SpecificationError) -> GuestImage {
    if let guest = BuiltinGuest.named(name) { return .builtin(guest) }
    guard let entry = entry(tenant.qualified(name)) else { throw .noSuchImage(name) }
    return entry.image
  }

  /// A stored image; nil where there is none.
  public func entry(_ name: String) -> StoredEntry? { guarded.withLock { $0[name] } }

  /// Every stored image.
  public var entries: [StoredEntry] { guarded.withLock { Array($0.entries.values) } }

  /// At most `limit` stored images of a tenant (nil: of all) behind the one that the server calls `name` (nil: from the first), by
  /// the server's names, and whether more follow.
  public func page(of tenant: Tenant?, after name: String?, limit: Int) -> (entries: [StoredEntry], goesOn: Bool) {
    guarded.withLock { images in
      // There are a thousand at most, so a page costs no more than a look at those.
      let rest = images.entries.page(after: name, limit: .max).items
        .filter { item in tenant.map { $0 == Tenant.split(item.key).tenant } ?? true }
      return (rest.prefix(limit).map(\.value), rest.count > limit)
    }
  }

  /// The names of the images that name each of some blobs.
  public func users(of digests: [SHA256Digest]) -> [SHA256Digest: [String]] {
    guarded.withLock { images in
      Dictionary(digests.map { ($0, images.users(of: $0)) }) { first, _ in first }
    }
  }

  // MARK: Changing

  /// Refuses names that stored images cannot have.
  public func check(_ name: String) throws(ImageRefusal) {
    guard BuiltinGuest.named(Tenant.split(name).name) == nil else { throw .builtin(Tenant.split(name).name) }
  }

  /// Finds out what a manifest makes; nothing is stored yet.
  func prepared(_ name: String, _ manifest: ImageManifest) throws(ImageRefusal) -> StoredEntry {
    let parts = try parts(manifest)
    let image: GuestImage
    do throws(ImageError) {
      image = try GuestImage(name: name, parts, kind: manifest.kind)
    } catch {
      throw .invalid(error)
    }
    do throws(JSONEncodingError) {
      return try StoredEntry(
        name: name, kind: image.description.kind, manifest: manifest, createdAtMS: StateDatabase.wallClockMS(),
        image: image)
    } catch {
      throw .unencodable(error)
    }
  }

  private func parts(_ manifest: ImageManifest) throws(ImageRefusal) -> ImageParts {
    // Parts of the same bytes share a file.
    var opened: [SHA256Digest: ImagePart] = [:]
    func part(_ digest: SHA256Digest, at pointer: String) throws(ImageRefusal) -> ImagePart {
      if let part = opened[digest] { return part }
      let file = try finding(digest, at: pointer) { () throws(BlobStoreError) in try blobs.open(digest) }
      let part = ImagePart(FileBytes(file, identity: digest.description))
      opened[digest] = part
      return part
    }
    var blocks: [String: ImagePart] = [:]
    for (name, digest) in manifest.blocks { blocks[name] = try part(digest, at: "/block/" + name) }
    var modules: [ImageModule] = []
    for (index, module) in manifest.modules.enumerated() {
      modules.append(ImageModule(try part(module.blob, at: "/modules/\(index)/blob"), text: module.string))
    }
    return ImageParts(
      main: try part(manifest.kernel, at: "/kernel"),
      initramfs: try manifest.initramfs.map { digest throws(ImageRefusal) in try part(digest, at: "/initramfs") },
      modules: modules, blocks: blocks, commandLine: manifest.commandLine, flat: manifest.flat)
  }

  /// Looks for the blob that the member of a manifest at `pointer` names.
  private func finding<Value>(
    _ digest: SHA256Digest, at pointer: String, _ look: () throws(BlobStoreError) -> Value
  ) throws(ImageRefusal) -> Value {
    do throws(BlobStoreError) {
      return try look()
    } catch .noSuchBlob {
      throw .noSuchBlob(digest, pointer: pointer)
    } catch {
      throw .blob(error)
    }
  }

  /// Stores an image, in the place of what has its name. Returns what is there then, and whether the name is new. `quotaMiB`: what
  /// all images of its tenant may have; nil for no limit.
  func store(
    _ entry: StoredEntry, quotaMiB: Int? = nil, if holds: Precondition, by origin: Origin
  ) throws(ImageRefusal) -> (entry: StoredEntry, isNew: Bool) {
    let (old, unused) = try changes.withLock { _ throws(ImageRefusal) -> (StoredEntry?, [SHA256Digest]) in
      let old = try checkRoom(for: entry, quotaMiB: quotaMiB)
      // A client may have deleted one since they were opened.
      for (pointer, digest) in entry.manifest.members {
        _ = try finding(digest, at: pointer) { () throws(BlobStoreError) in try blobs.size(of: digest) }
      }
      // Last: what would be refused without a condition is refused for what it is (RFC 9110, 13.2.1).
      try Self.check(holds, old?.tag)
      if let old, old.tag == entry.tag, old.image == entry.image { return (old, []) }
      do throws(JournalFailure) { try journal?.stored(entry.stored, by: origin) } catch { throw .journal(error) }
      return (old, change(entry.name, entry, from: old))
    }
    remove(unused, by: origin)
    guard let old, old.tag == entry.tag, old.image == entry.image else { return (entry, old == nil) }
    return (old, false)
  }

  /// Refuses an image that there is no room for beside the others. Returns what has its name.
  private func checkRoom(for entry: StoredEntry, quotaMiB: Int?) throws(ImageRefusal) -> StoredEntry? {
    let tenant = Tenant.split(entry.name).tenant
    let (old, count, files, bytes, taken) = guarded.withLock { images in
      (images[entry.name], images.entries.count, images.files, images.manifestBytes, images.bytes[tenant] ?? 0)
    }
    if let quotaMiB, taken - (old?.sizeBytes ?? 0) + entry.sizeBytes > quotaMiB << 20 {
      throw .quota(QuotaRefusal(of: tenant, quota: .imageMiB, limit: quotaMiB))
    }
    guard old != nil || count < Self.limit else { throw .tooMany(limit: Self.limit) }
    guard files - (old?.digests.count ?? 0) + entry.digests.count <= Self.fileLimit else {
      throw .tooManyParts(limit: Self.fileLimit)
    }
    guard bytes - (old?.document.count ?? 0) + entry.document.count <= Self.manifestLimit else {
      throw .tooLongManifests(limit: Self.manifestLimit)
    }
    return old
  }

  /// Deletes an image, and the blobs that nothing else names.
  func delete(_ name: String, if holds: Precondition, by origin: Origin) throws(ImageRefusal) {
    let unused = try changes.withLock { _ throws(ImageRefusal) in
      guard let old = self.entry(name) else { throw .noSuchImage(name) }
      try Self.check(holds, old.tag)
      do throws(JournalFailure) { try journal?.deletedImage(name, by: origin) } catch { throw .journal(error) }
      return change(name, nil, from: old)
    }
    remove(unused, by: origin)
  }

  private static func check(_ holds: Precondition, _ tag: String?) throws(ImageRefusal) {
    do throws(PreconditionFailure) { try holds(tag) } catch { throw .precondition(error) }
  }

  /// Puts an image, or none, in the place of `old`. Returns the blobs of that which no image names any more.
  private func change(_ name: String, _ entry: StoredEntry?, from old: StoredEntry?) -> [SHA256Digest] {
    guarded.withLock { images in
      images[name] = entry
      return images.unused(old)
    }
  }

  /// Deletes blobs that are not used. One that has come to be used again meanwhile stays, and so does one that a client put to
  /// store another image of it. One that cannot be deleted is listed, and can be deleted later. One that a request holds goes when it is released.
  func remove(_ digests: [SHA256Digest], by origin: Origin) {
    for digest in digests {
      try? changes.withLock { _ throws(ImageRefusal) in
        if !guarded.withLock({ $0.postpones(digest) }) { try deleteUnused(digest, unlessAwaited: true, by: origin) }
      }
    }
  }

  // MARK: Blobs

  /// Keeps blobs, there or still to come, from being deleted with an image: a request is about to store one that names them.
  /// Every call is followed by one of `release`.
  func hold(_ digests: Set<SHA256Digest>) {
    // Under `changes`: a removal that has found the blob not held ends first.
    changes.withLock { _ in guarded.withLock { $0.hold(digests) } }
  }

  /// Ends a `hold`. Deletes those that nothing uses and that were to go meanwhile.
  func release(_ digests: Set<SHA256Digest>, by origin: Origin) {
    remove(guarded.withLock { $0.release(digests) }, by: origin)
  }

  /// Deletes a blob that no image names.
  public func delete(_ digest: SHA256Digest, by origin: Origin) throws(ImageRefusal) {
    try changes.withLock { _ throws(ImageRefusal) in try deleteUnused(digest, unlessAwaited: false, by: origin) }
  }

  /// Under `changes`.
  private func deleteUnused(
    _ digest: SHA256Digest, unlessAwaited: Bool, by origin: Origin
  ) throws(ImageRefusal) {
    let users = guarded.withLock { $0.users(of: digest) }
    guard users.isEmpty else { throw .blobInUse(digest, images: users) }
    let isGone: Bool
    do throws(BlobStoreError) {
      isGone = try blobs.delete(digest, unlessAwaited: unlessAwaited)
    } catch { throw .blob(error) }
    if isGone { try note(digest, nil, by: origin) }
  }

  /// Records that a blob has come (or gone).
  func note(_ digest: SHA256Digest, _ size: Int?, by origin: Origin) throws(ImageRefusal) {
    do throws(JournalFailure) {
      try journal?.noted(blob: digest.description, sizeBytes: size, by: origin)
    } catch {
      throw .journal(error)
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
    changes.withLock { _ in
      guarded.withLock { images in
        if images[entry.name]?.tag == entry.tag { images[entry.name] = entry }
      }
    }
  }

  // MARK: The start

  /// Brings back an image that was stored before the server started. One whose blobs are not what they were is there
  /// all the same, but unusable; says why.
  public func recover(_ stored: StoredImage) throws(ImageRecoveryError) -> ImageRecoveryError? {
    let manifest = try Self.manifest(of: stored)
    guard let kind = GuestKind(rawValue: stored.kind) else {
      throw ImageRecoveryError(image: stored.name, detail: "this release knows no images of the kind \(stored.kind)")
    }
    var entry: StoredEntry
    var failure: ImageRecoveryError?
    do throws(ImageRefusal) {
      entry = try prepared(stored.name, manifest)
    } catch {
      failure = ImageRecoveryError(image: stored.name, detail: "\(error)")
      do throws(JSONEncodingError) {
        entry = try StoredEntry(
          name: stored.name, kind: kind, manifest: manifest, createdAtMS: stored.createdAtMS,
          image: .unusable(name: stored.name, kind, reason: "\(error)"))
      } catch {
        throw ImageRecoveryError(image: stored.name, detail: "\(error)")
      }
    }
    entry.createdAtMS = stored.createdAtMS
    changes.withLock { _ in guarded.withLock { [entry] in $0[stored.name] = entry } }
    return failure
  }

  private static func manifest(of stored: StoredImage) throws(ImageRecoveryError) -> ImageManifest {
    let document: ImageManifestDocument
    do throws(JSONDecodingError) {
      document = try JSON.decode(ImageManifestDocument.self, from: stored.manifest)
    } catch {
      throw ImageRecoveryError(image: stored.name, detail: "\(error)")
    }
    do throws(DocumentMistake) {
      return try ImageManifest(document)
    } catch {
      throw ImageRecoveryError(image: stored.name, detail: "\(error)")
    }
  }
}
