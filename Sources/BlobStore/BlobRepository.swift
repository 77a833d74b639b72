public import Digests
import Glibc
public import LinuxSupport
import Synchronization
import SystemPackage

/// Files named by the SHA-256 hash of their bytes.
///
/// A blob is there in whole or not at all. The store writes it under another name, reads it back, compares it with its hash,
/// forces it to the disk, and then renames it. A store that is opened removes unfinished files, but for uploads that can be
/// continued: it keeps those within `BlobLimits`.
///
/// All calls may come from any thread. `BlobUpload.finish`, and `init` where files were changed behind the store's
/// back, read whole files; everything else takes what a system call or two take.
public final class BlobRepository: Sendable {
  /// The limits that it keeps.
  public let limits: BlobLimits

  let directory: BlobDirectory
  /// Removed when the store is closed; nil for one that lasts.
  private let temporary: TemporaryDirectory?
  /// Held while a whole blob gets its name or loses it, so that the next one who does that finds tables and directory agreeing.
  /// The disk is waited for under it: ends of uploads and deletions take it, and nothing else does.
  private let naming = Mutex(())
  /// Guards the tables. Taken under `naming`; a leaf, under which nothing touches the disk.
  private let guarded: Mutex<BlobTables>
  /// Frees the space of files: for a large one that takes a while.
  private let trash = WorkerPool(name: "blob-trash", role: .files, threads: 1, queueLimit: 4096)

  /// A blob, as it is listed.
  public struct Status: Sendable, Equatable {
    /// Its name.
    public let digest: SHA256Digest
    /// Its bytes.
    public let size: Int
    /// Why it cannot be used, if it cannot.
    public let damage: String?
  }

  /// Opens the store in `directory`, or makes it there; nil: in a directory of its own that `close` removes.
  ///
  /// No other store may have it open. Reads files again whose mark says that they are not what was verified.
  public convenience init(directory: String?, limits: BlobLimits = BlobLimits()) throws(BlobStoreError) {
    try self.init(directory: directory, limits: limits) { _ throws(Errno) in }
  }

  init(
    directory: String?, limits: BlobLimits, step: @escaping @Sendable (BlobDirectory.Step) throws(Errno) -> Void
  ) throws(BlobStoreError) {
    self.limits = limits
    temporary = directory == nil ? try TemporaryDirectory() : nil
    let path = directory ?? temporary?.path ?? ""
    self.directory = try translating(path) { () throws(Errno) in try BlobDirectory(path, step) }
    guarded = Mutex(BlobTables())
    let found = try translating(path) { () throws(Errno) in try Self.found(in: self.directory) }
    guarded.withLock { $0 = found }
    prune()
  }

  deinit { temporary?.remove() }

  /// Frees what has been deleted, and removes the directory of a store that does not last. Nothing may be done with it
  /// afterwards.
  public func close() {
    trash.stop()
    temporary?.remove()
  }

  /// Returns when the files are removed that lost their names before.
  func waitForTrash() {
    let removed = CountingSemaphore()
    do throws(WorkerPool.Refusal) {
      try trash.submit { removed.signal() }
      removed.wait()
    } catch {
      // No thread removes files: those that lost their names did it themselves.
    }
  }

  /// Reads what is there, and removes what no upload can continue.
  private static func found(in directory: borrowing BlobDirectory) throws(Errno) -> BlobTables {
    var tables = BlobTables()
    let names = try directory.names()
    for name in names.blobs {
      guard let digest = SHA256Digest(hex: name) else { continue }
      tables[digest] = try found(digest, in: directory)
    }
    for name in names.partial {
      if let digest = SHA256Digest(hex: String(name.prefix { $0 != "-" })), !tables.isWhole(digest),
        tables.partials[digest] == nil, let (size, changedMS) = directory.partialStatus(name), size > 0
      {
        tables.keep(name, of: digest, size: size, changedMS: changedMS)
      } else {
        directory.unlinkPartial(name)
      }
    }
    return tables
  }

  private static func found(
    _ digest: SHA256Digest, in directory: borrowing BlobDirectory
  ) throws(Errno) -> BlobTables.Blob {
    do throws(Errno) {
      let file = try directory.openBlob(digest)
      let (size, mark) = try BlobDirectory.status(of: file)
      if let mark { return BlobTables.Blob(size: size, isAwaited: mark == .awaited) }
      let (found, length) = try BlobDirectory.digest(of: file)
      guard found == digest else { return BlobTables.Blob(size: length, damage: "its bytes are \(found)") }
      try directory.seal(file, as: .verified)
      return BlobTables.Blob(size: length)
    } catch {
      return BlobTables.Blob(size: 0, damage: "its file cannot be read: \(error)")
    }
  }

  // MARK: Looking

  /// All whole blobs, by name.
  public var blobs: [Status] { page(after: nil, limit: .max).blobs }

  /// At most `limit` whole blobs behind `digest` (nil: from the first), by name, and whether more follow. Costs what the page
  /// has, however many blobs there are.
  public func page(after digest: SHA256Digest?, limit: Int) -> (blobs: [Status], goesOn: Bool) {
    let (items, goesOn) = guarded.withLock { $0.blobs.page(after: digest, limit: limit) }
    return (items.map { Status(digest: $0, size: $1.size, damage: $1.damage) }, goesOn)
  }

  /// Bytes taken: by whole blobs, by interrupted uploads and by those under way.
  public var usedBytes: Int { guarded.withLock { $0.usedBytes } }

  /// A blob's size; it is there and whole.
  public func size(of digest: SHA256Digest) throws(BlobStoreError) -> Int {
    guard let blob = guarded.withLock({ $0[digest] }) else { throw .noSuchBlob(digest) }
    if let damage = blob.damage { throw .damaged(digest, reason: damage) }
    return blob.size
  }

  /// Opens a blob for reading. Its bytes stay as long as the file is open, also when its name is gone.
  public func open(_ digest: SHA256Digest) throws(BlobStoreError) -> ReadableFile {
    _ = try size(of: digest)
    let path = directory.path + "/" + digest.hex
    let (file, mark) = try translating(path) { () throws(Errno) in
      let file = try directory.openBlob(digest)
      let mark = try BlobDirectory.status(of: file).mark
      return (try ReadableFile(file), mark)
    }
    guard mark != nil else { throw .damaged(digest, reason: "its file was written to behind the server's back") }
    return file
  }

  /// How many bytes of an interrupted upload are there, to be continued; nil for none.
  public func partialSize(of digest: SHA256Digest) -> Int? {
    guarded.withLock { tables in tables.partials[digest].flatMap { $0.isBusy ? nil : $0.size } }
  }

  // MARK: Awaiting

  /// Keeps a blob that is there and whole from going with an image, for a client that is about to store another of it. Returns
  /// its size. A blob that came under its hash is kept so from the start.
  public func markAwaited(_ digest: SHA256Digest) throws(BlobStoreError) -> Int {
    let size = try size(of: digest)
    try mark(digest, isAwaited: true)
    return size
  }

  /// A client has stored an image of the blobs: they go with the last image that names them. One that cannot be marked so stays
  /// until a client deletes it.
  public func endAwaiting(_ digests: some Sequence<SHA256Digest>) {
    for digest in digests { try? mark(digest, isAwaited: false) }
  }

  private func mark(_ digest: SHA256Digest, isAwaited: Bool) throws(BlobStoreError) {
    let isChange = try changing { tables, trash throws(BlobStoreError) in
      guard let blob = tables[digest] else { throw .noSuchBlob(digest) }
      tables[digest]?.isAwaited = isAwaited
      if isAwaited, tables.partials[digest]?.isBusy == false { drop(digest, &tables, &trash) }
      return blob.isAwaited != isAwaited
    }
    guard isChange else { return }
    try translating(directory.path + "/" + digest.hex) { () throws(Errno) in
      let file = try directory.openBlob(digest)
      // What was written to behind the store's back must not look verified.
      guard try BlobDirectory.status(of: file).mark != nil else { return }
      // The thread that writes last looks at the table once more, so the file says in the end what the table says.
      var isWritten: Bool
      repeat {
        isWritten = guarded.withLock { $0[digest]?.isAwaited ?? false }
        try directory.mark(file, as: isWritten ? .awaited : .verified)
      } while guarded.withLock({ [isWritten] in $0[digest].map { $0.isAwaited != isWritten } ?? false })
    }
  }

  // MARK: Uploading

  /// Begins an upload of `announced` bytes (nil: not known), or continues one at `offset`. `total` is the size of the whole
  /// blob, where this upload is a part of it: there must be room for all.
  ///
  /// `digest` is the hash that the bytes will have; an upload of unknown hash (nil) cannot be interrupted. `examination`
  /// looks at the first bytes of the blob as soon as they are there.
  public func begin(
    _ digest: SHA256Digest?, at offset: Int = 0, announced: Int?, of total: Int? = nil,
    examination: BlobExamination? = nil
  ) throws(BlobStoreError) -> BlobUpload {
    guard announced != 0 || offset > 0 else { throw .empty }
    let (end, overflow) = offset.addingReportingOverflow(announced ?? 0)
    let reserved = max(end, total ?? 0)
    guard !overflow, reserved <= limits.blobBytes else { throw .tooLarge(limit: limits.blobBytes) }
    let whole = announced == nil && total == nil ? nil : reserved
    let begun = try changing { tables, trash throws(BlobStoreError) in
      try self.place(digest, at: offset, of: whole, reserving: reserved, &tables, &trash)
    }
    do throws(BlobStoreError) {
      let file = try translating(directory.path) { () throws(Errno) in
        try directory.openPartial(begun.name, isNew: offset == 0)
      }
      return BlobUpload(
        self, file, name: begun.name, expected: digest, isKept: begun.isKept, size: offset,
        end: announced == nil ? nil : end, total: whole, reserved: reserved, examination)
    } catch {
      changing { tables, trash in
        tables.reserved -= reserved
        if begun.isKept, let digest { drop(digest, &tables, &trash) }
      }
      throw error
    }
  }

  private func place(
    _ digest: SHA256Digest?, at offset: Int, of total: Int?, reserving bytes: Int, _ tables: inout BlobTables,
    _ trash: inout [String]
  ) throws(BlobStoreError) -> (name: String, isKept: Bool) {
    let partial = digest.flatMap { tables.partials[$0] }
    if offset > 0 {
      if let digest, partial?.isBusy == true { throw .uploadInProgress(digest) }
      guard let partial, partial.size == offset else { throw .wrongOffset(partial?.size ?? 0) }
      if let was = partial.total, let total, total != was { throw .otherTotal(total, was: was) }
    }
    // What is continued or begun anew is not also kept.
    if let digest, partial?.isBusy == false { tables.partials[digest] = nil }
    do throws(BlobStoreError) {
      try reserve(bytes, beside: 0, &tables, &trash)
    } catch {
      if let digest { tables.partials[digest] = partial }
      throw error
    }
    // Beside an upload of the same blob this one is on its own: the first that ends makes the blob.
    guard let digest, partial?.isBusy != true else { return (tables.newName("upload"), false) }
    if offset == 0, let partial { trash.append(partial.name) }
    let name = offset > 0 ? partial?.name : nil
    let entry = BlobTables.Partial(name: name ?? tables.newName(digest.hex), size: 0, changedMS: 0, isBusy: true)
    tables.partials[digest] = entry
    return (entry.name, true)
  }

  /// Reserves room for so many bytes more, if need be at the cost of interrupted uploads. `own` are reserved for the upload
  /// already.
  private func reserve(
    _ bytes: Int, beside own: Int, _ tables: inout BlobTables, _ trash: inout [String]
  ) throws(BlobStoreError) {
    guard tables.usedBytes - tables.idleBytes + bytes <= limits.totalBytes else {
      // Time helps where the others may yet end without a blob.
      guard tables.blobBytes + own + bytes > limits.totalBytes else {
        throw .roomAnnounced(bytes: tables.reserved - own, limit: limits.totalBytes)
      }
      throw .quotaUsedUp(limit: limits.totalBytes)
    }
    while tables.usedBytes + bytes > limits.totalBytes, let oldest = tables.oldestPartial {
      drop(oldest, &tables, &trash)
    }
    tables.reserved += bytes
  }

  /// Room for an upload that turns out to be larger than was announced.
  func reserve(_ bytes: Int, beside own: Int) throws(BlobStoreError) {
    try changing { tables, trash throws(BlobStoreError) in
      try self.reserve(bytes, beside: own, &tables, &trash)
    }
  }

  /// Makes the sealed file of an upload a whole blob, and so ends the upload; false when the blob is there already.
  func publish(_ upload: BlobUpload, as digest: SHA256Digest) throws(BlobStoreError) -> Bool {
    let isNew = try naming.withLock { _ throws(BlobStoreError) in
      if guarded.withLock({ $0.isWhole(digest) }) {
        if upload.isAwaited { try mark(digest, isAwaited: true) }
        return false
      }
      try translating(directory.path) { () throws(Errno) in try directory.publish(upload.name, as: digest) }
      changing { tables, trash in
        tables[digest] = BlobTables.Blob(size: upload.size, isAwaited: upload.isAwaited)
        tables.reserved -= upload.reserved
        if upload.isKept {
          tables.partials[digest] = nil
        } else if upload.isAwaited, tables.partials[digest]?.isBusy == false {
          // An image's own blob may go again with the image, while the client of the interrupted upload still wants it.
          drop(digest, &tables, &trash)
        }
      }
      upload.isOver = true
      return true
    }
    do throws(BlobStoreError) {
      if isNew { try translating(directory.path) { () throws(Errno) in try directory.flushNames() } }
      return isNew
    } catch {
      // What may not be there after a power cut must not be promised to the next one who asks.
      _ = try? delete(digest)
      throw error
    }
  }

  /// An upload is over without a blob: what came is kept, if it can be continued, or removed.
  func end(_ upload: BlobUpload, isKept: Bool) {
    changing { tables, trash in
      tables.reserved -= upload.reserved
      if upload.isKept, let digest = upload.expected {
        tables.partials[digest] = BlobTables.Partial(
          name: upload.name, size: upload.size, changedMS: Self.nowMS(), total: upload.total)
        if !isKept || upload.size == 0 || tables.stays(digest) { drop(digest, &tables, &trash) }
      } else {
        trash.append(upload.name)
      }
      trim(&tables, &trash)
    }
  }

  // MARK: Removing

  /// Removes a blob; `unlessAwaited`: but for one that a client put to store an image of it. Readers that have it open can go
  /// on. Returns whether the blob is gone.
  @discardableResult
  public func delete(_ digest: SHA256Digest, unlessAwaited: Bool = false) throws(BlobStoreError) -> Bool {
    try naming.withLock { _ throws(BlobStoreError) in
      // First, so that no request opens it any more.
      let (blob, name) = guarded.withLock { tables in
        let blob = tables[digest]
        if !unlessAwaited || blob?.isAwaited == false { tables[digest] = nil }
        return (blob, tables.newName("trash"))
      }
      guard let blob else { throw .noSuchBlob(digest) }
      if unlessAwaited, blob.isAwaited { return false }
      do throws(BlobStoreError) {
        try translating(directory.path) { () throws(Errno) in try directory.moveAway(digest, to: name) }
      } catch {
        guarded.withLock { $0[digest] = blob }
        throw error
      }
      remove([name])
      return true
    }
  }

  /// Forgets interrupted uploads that are too old. To be called now and then.
  public func prune() {
    changing { tables, trash in
      let before = Self.nowMS() - limits.partialAgeMS
      for (digest, partial) in tables.partials where !partial.isBusy && partial.changedMS <= before {
        drop(digest, &tables, &trash)
      }
      trim(&tables, &trash)
    }
  }

  private func trim(_ tables: inout BlobTables, _ trash: inout [String]) {
    while tables.partials.values.count(where: { !$0.isBusy }) > limits.partials,
      let oldest = tables.oldestPartial
    {
      drop(oldest, &tables, &trash)
    }
  }

  private func drop(_ digest: SHA256Digest, _ tables: inout BlobTables, _ trash: inout [String]) {
    if let partial = tables.partials.removeValue(forKey: digest) { trash.append(partial.name) }
  }

  // MARK: Pieces

  /// Changes the tables, and has files removed that have lost their names.
  private func changing<Value, Failure: Error>(
    _ body: (inout BlobTables, _ trash: inout [String]) throws(Failure) -> sending Value
  ) throws(Failure) -> Value {
    var names: [String] = []
    defer { if !names.isEmpty { remove(names) } }
    return try guarded.withLock { tables throws(Failure) in try body(&tables, &names) }
  }

  private func remove(_ names: [String]) {
    let work: @Sendable () -> Void = { for name in names { self.directory.unlinkPartial(name) } }
    // Where that thread takes no more, the caller does it.
    do throws(WorkerPool.Refusal) { try trash.submit(work) } catch { work() }
  }

  static func nowMS() -> Int {
    var now = timespec()
    // Safe: a local, filled by the call.
    unsafe clock_gettime(CLOCK_REALTIME, &now)
    return now.tv_sec * 1000 + now.tv_nsec / 1_000_000
  }
}
