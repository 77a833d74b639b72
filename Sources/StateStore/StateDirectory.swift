import Glibc
import LinuxSupport
import SystemPackage

/// The files of a state directory, and the lock that keeps a second server out.
struct StateDirectory: ~Copyable {
  private let path: String
  // Holds a lock (flock(2)) on `vmpool.lock`, which the kernel releases with the process, however that ends.
  private let lock: OwnedDescriptor

  // Rows are small and SQLite logs whole pages: this writes a third of the bytes that the usual 4096 would.
  static let pageBytes = 1024

  var databasePath: String { path + "/vmpool.db" }

  /// Locks the directory, which must exist.
  init(_ path: String) throws(StateStoreError) {
    let file = path + "/vmpool.lock"
    let lock = try Self.opened(file, O_RDWR | O_CREAT)
    // Safe, here and below: only locals are pointed to, and paths live for the call.
    guard flock(lock.rawValue, LOCK_EX | LOCK_NB) == 0 else {
      guard errno == EWOULDBLOCK else { throw Self.error(errno, file) }
      var text = [UInt8](repeating: 0, count: 20)
      let count = unsafe pread(lock.rawValue, &text, text.count, 0)
      let holder = String(decoding: text.prefix(max(count, 0)), as: UTF8.self).filter(\.isNumber)
      let process = holder.isEmpty ? "another process" : "process \(holder)"
      throw .cannotOpen(
        path: path, reason: "\(process) uses it. Stop that server, or give this one a state directory of its own.")
    }
    let holder = Array("\(getpid())\n".utf8)
    // The number is for people only, so a full disk does not matter.
    if ftruncate(lock.rawValue, 0) == 0 { _ = unsafe pwrite(lock.rawValue, holder, holder.count, 0) }
    self.path = path
    self.lock = lock
  }

  /// Makes the database unless it is there. It gets its name when it is complete, so a file that has the name and
  /// is no database was damaged.
  func createDatabaseIfMissing() throws(StateStoreError) {
    // Safe: as above.
    if unsafe access(databasePath, F_OK) == 0 { return try checkDatabase() }
    guard errno == ENOENT else { throw Self.error(errno, databasePath) }
    guard unsafe access(databasePath + "-wal", F_OK) != 0 else {
      throw .corrupted(path: databasePath, reason: "its log is there, and the file itself is gone")
    }
    let new = databasePath + ".new"
    for left in [new, new + "-wal", new + "-shm"] { unsafe unlink(left) }
    // Made by us first, since SQLite would let the umask decide who may read it. Its log takes over the mode.
    do { _ = try Self.opened(new, O_RDWR | O_CREAT | O_EXCL) }
    do {
      var connection = try SQLiteConnection(new, .create)
      connection.checkpointOnClose(true)
      try connection.script(
        "PRAGMA page_size = \(Self.pageBytes); PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
      try Schema.migrate(&connection, from: 0)
      // By hand before closing does it, because closing cannot say that it failed.
      _ = try connection.checkpoint(waits: true)
    }
    guard unsafe rename(new, databasePath) == 0 else { throw Self.error(errno, databasePath) }
    try flush()
  }

  /// Forces the names of the files in it to the disk.
  func flush() throws(StateStoreError) {
    let directory = try Self.opened(path, O_RDONLY | O_DIRECTORY)
    guard fsync(directory.rawValue) == 0 else { throw Self.error(errno, path) }
  }

  /// Writes and removes a file of 64 KiB: throws what stands in the way of writing here.
  func tryWriting() throws(StateStoreError) {
    let name = databasePath + ".room"
    let file = try Self.opened(name, O_WRONLY | O_CREAT | O_TRUNC)
    // Safe: as above.
    defer { unsafe unlink(name) }
    let bytes = [UInt8](repeating: 1, count: 65_536)
    let written = unsafe write(file.rawValue, bytes, bytes.count)
    guard written >= 0 else { throw Self.error(errno, name) }
    guard written == bytes.count else { throw .full(path: name, reason: "only \(written) bytes of 64 KiB fitted") }
  }

  /// Whether the file system gives room for so many bytes.
  func hasRoom(bytes: Int) -> Bool {
    let name = databasePath + ".room"
    guard let file = try? Self.opened(name, O_WRONLY | O_CREAT | O_TRUNC) else { return false }
    // Safe: as above.
    defer { unsafe unlink(name) }
    return (try? file.setRoomAside(bytes: bytes)) != nil
  }

  /// The database's log.
  func openLog() throws(StateStoreError) -> OwnedDescriptor {
    try Self.opened(databasePath + "-wal", O_RDWR)
  }

  private func checkDatabase() throws(StateStoreError) {
    let file = try Self.opened(databasePath, O_RDWR)
    var status = stat()
    // Safe: as above.
    guard unsafe fstat(file.rawValue, &status) == 0 else { throw Self.error(errno, databasePath) }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw .cannotOpen(path: databasePath, reason: "it is not a regular file")
    }
    // SQLite takes an empty file for a new database.
    guard status.st_size > 0 else { throw .corrupted(path: databasePath, reason: "it is empty") }
    // Nor does it mind a page that ends early. That is fine only while the log has the page once more.
    let wholePages = Int(status.st_size) % Self.pageBytes == 0
    let hasLog = unsafe stat(databasePath + "-wal", &status) == 0 && status.st_size > 0
    guard wholePages || hasLog else {
      throw .corrupted(path: databasePath, reason: "it ends in the middle of a page")
    }
  }

  private static func opened(_ path: String, _ flags: Int32) throws(StateStoreError) -> OwnedDescriptor {
    // Safe: as above.
    let descriptor = unsafe open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard descriptor >= 0 else { throw error(errno, path) }
    return OwnedDescriptor(owning: descriptor)
  }

  private static func error(_ number: Int32, _ path: String) -> StateStoreError {
    let cause = Errno(rawValue: number)
    switch cause {
    case .readOnlyFileSystem, .permissionDenied, .notPermitted: return .readOnly(path: path, reason: "\(cause)")
    case .noSpace, .diskQuotaExceeded, .fileTooLarge: return .full(path: path, reason: "\(cause)")
    default: return .cannotOpen(path: path, reason: "\(cause)")
    }
  }
}
