import Dispatch
import Glibc
import LinuxSupport
import Synchronization
import SystemPackage

/// What outlives the process: pools declared over the API, leases, idempotency keys and the audit log, in SQLite.
///
/// **What is on disk when a call returns.** Every change is one transaction, with its audit entry. With
/// `Sync.normal` it then is in the file's log and in the kernel's hands: it survives the process being killed at any
/// moment, and any crash that leaves the kernel running. About a second later it is on the disk, and survives a power
/// cut and a kernel crash as well; before that, such a crash may undo the last changes, always whole ones and always the
/// latest. With `Sync.full` a change is on the disk (fdatasync(2)) when the call returns, which costs
/// what the disk takes. What is in memory only (`directory: nil`) survives nothing.
///
/// **Why SQLite's C interface.** GRDB, the well-kept Swift library over it, was measured: a lease's grant (two rows in
/// one transaction) took 1.7 times as long through it at the median, above what a lease request may spend, and it added
/// minutes to a clean build. We need a dozen statements and one connection.
///
/// All calls are synchronous and may come from any thread; they take tens of microseconds, and wait for each other.
/// One change in some thousands waits for an fsync(2) of the log's first page, when the log begins anew.
public final class StateDatabase: Sendable {
  /// When a change is forced to the disk.
  public enum Sync: String, Sendable, CaseIterable {
    /// Within about a second, in the background.
    case normal
    /// Before the call returns.
    case full
  }

  /// What the last process left behind, as it was at `open`.
  public let recovered: Recovered

  let limits: StateLimits
  let path: String

  // nil: in memory, or closed.
  private let directory: Mutex<StateDirectory?>
  // What forces changes to the disk; nil: in memory, or closed. Taken before `guarded`.
  private let flushing: Mutex<Flushing?>
  // The connection that everything else goes through. A leaf.
  private let guarded: Mutex<Guarded>
  private let queue = DispatchQueue(label: "vmpool.state.flush")

  private struct Flushing: ~Copyable {
    /// A connection of its own: it may checkpoint while the other one writes.
    var connection: Connection
    /// The log, for fdatasync(2). (The database file itself must not be opened and closed beside SQLite, which would
    /// lose its locks.)
    let log: OwnedDescriptor
    /// How many pages had been written into the log when it last began.
    var pagesAtStart = 0
  }

  private struct Guarded: ~Copyable {
    var connection: Connection
    /// Whether a flush is on its way that has not begun.
    var flushScheduled = false
    var flushError: StateStoreError?
  }

  /// Opens the state in `directory`, which must exist, or makes it there; nil: keeps it in memory.
  ///
  /// The directory is locked until `close`. A file that is damaged, or was written by a later release, is refused and
  /// left as it is. `nowMS`, in Unix milliseconds, is when leases that were left open are said to be lost.
  public static func open(
    directory: String?, sync: Sync = .normal, limits: StateLimits = StateLimits(), nowMS: Int = wallClockMS()
  ) throws(StateStoreError) -> StateDatabase {
    guard let directory else {
      var connection = try Connection(":memory:", .memory)
      try Schema.migrate(&connection, from: 0)
      let recovered = try Recovered(&connection, nowMS)
      return StateDatabase(recovered, nil, connection, flushing: nil, limits)
    }
    let locked = try StateDirectory(directory)
    try locked.createDatabaseIfMissing()
    var connection = try Connection(locked.databasePath, .existing)
    let version = try check(&connection)
    try connection.script(
      """
      PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -8192; PRAGMA temp_store = MEMORY;
      PRAGMA synchronous = \(sync.rawValue);
      """)
    try Schema.migrate(&connection, from: version)
    let recovered = try Recovered(&connection, nowMS)
    var second = try Connection(locked.databasePath, .existing)
    try second.script("PRAGMA synchronous = NORMAL")
    // The log is there since the first change. Its name must outlive a power cut, too.
    let flushing = Flushing(connection: second, log: try locked.openLog())
    try locked.flush()
    try connection.holdSnapshot()
    // What was refused so far stays as it is. From here on it is ours.
    connection.checkpointOnClose(true)
    return StateDatabase(recovered, locked, connection, flushing: flushing, limits)
  }

  /// Refuses what we did not write, without changing it; returns the schema's version.
  private static func check(_ connection: inout Connection) throws(StateStoreError) -> Int {
    guard !connection.isReadOnly else { throw .readOnly(path: connection.path, reason: "it opens for reading only") }
    let application = try connection.number("PRAGMA application_id")
    guard application == Schema.applicationID else {
      throw .corrupted(path: connection.path, reason: "it is no database of vmpool's")
    }
    let version = try connection.number("PRAGMA user_version")
    guard version <= Schema.version else {
      throw .newerSchema(path: connection.path, found: version, known: Schema.version)
    }
    guard version > 0 else { throw .corrupted(path: connection.path, reason: "it has no schema version") }
    // Reads the whole file once: as much as the limits let it grow, some 100 MB at most.
    try connection.script("PRAGMA cell_size_check = ON")
    let found = try connection.rows("PRAGMA quick_check(1)") { row throws(StateStoreError) in row.text(0) }
    guard found == ["ok"] else {
      throw .corrupted(path: connection.path, reason: found.first ?? "the check found nothing to say")
    }
    return version
  }

  private init(
    _ recovered: Recovered, _ directory: consuming StateDirectory?, _ connection: consuming Connection,
    flushing: consuming Flushing?, _ limits: StateLimits
  ) {
    self.recovered = recovered
    self.limits = limits
    path = connection.path
    self.directory = Mutex(directory)
    self.flushing = Mutex(flushing)
    guarded = Mutex(Guarded(connection: connection))
  }

  deinit { close() }

  /// Moves the log into the database file and releases the directory. Whatever is called afterwards fails; closing
  /// again does nothing.
  public func close() {
    flushing.withLock { $0 = nil }
    // The last connection: closing it checkpoints.
    guarded.withLock { $0.connection.close() }
    directory.withLock { $0 = nil }
  }

  /// Why changes could not be forced to the disk the last time, if they could not: they still survive the process, and
  /// the log grows. It is tried again within a second of the next change.
  public var flushError: StateStoreError? { guarded.withLock { $0.flushError } }

  /// The wall clock in Unix milliseconds.
  public static func wallClockMS() -> Int {
    Int(WallClock.now() / 1_000_000)
  }

  func read<T: Sendable>(
    _ body: (inout Connection) throws(StateStoreError) -> T
  ) throws(StateStoreError) -> T {
    try guarded.withLock { (guarded) throws(StateStoreError) in try body(&guarded.connection) }
  }

  /// Makes changes in one transaction, with their audit entry.
  func write<T: Sendable>(
    _ audit: AuditEntry?, _ body: (inout Connection) throws(StateStoreError) -> T
  ) throws(StateStoreError) -> T {
    try change { (connection: inout Connection) throws(StateStoreError) in
      try connection.transaction { (connection: inout Connection) throws(StateStoreError) in
        let result = try body(&connection)
        if let audit { try connection.append(audit) }
        return result
      }
    }
  }

  /// Makes changes in transactions of their own.
  func change<T: Sendable>(
    _ body: (inout Connection) throws(StateStoreError) -> T
  ) throws(StateStoreError) -> T {
    try guarded.withLock { (guarded) throws(StateStoreError) in
      let result = try body(&guarded.connection)
      if !guarded.flushScheduled {
        guarded.flushScheduled = true
        queue.asyncAfter(deadline: .now() + 1) { [weak self] in self?.flush() }
      }
      return result
    }
  }

  /// Forces what has been written to the disk, without holding up changes. A log of more than `logLimit` pages is
  /// moved into the database file, so that it can begin anew.
  func flush(logLimit: Int = 16_384) {
    flushing.withLock { flushing in
      guard flushing != nil else { return }
      // What is written from here on schedules the next one.
      let pages = guarded.withLock { guarded in
        guarded.flushScheduled = false
        return guarded.connection.pagesWritten
      }
      do throws(StateStoreError) {
        try flush(&flushing!, pages, logLimit)
        guarded.withLock { $0.flushError = nil }
      } catch {
        guarded.withLock { $0.flushError = error }
      }
    }
  }

  private func flush(_ flushing: inout Flushing, _ pages: Int, _ logLimit: Int) throws(StateStoreError) {
    if pages - flushing.pagesAtStart < logLimit {
      guard fdatasync(flushing.log.rawValue) == 0 else {
        throw .failed(path: path + "-wal", reason: "\(Errno(rawValue: errno))")
      }
    } else if try checkpoint(&flushing.connection, logLimit) {
      flushing.pagesAtStart = pages
    }
  }

  /// Moves the log into the database file; whether all of it could be moved.
  private func checkpoint(_ connection: inout Connection, _ logLimit: Int) throws(StateStoreError) -> Bool {
    guarded.withLock { $0.connection.releaseSnapshot() }
    // Whatever comes of it; without, changes only take longer, and the next checkpoint sees to it again.
    defer { guarded.withLock { try? $0.connection.holdSnapshot() } }
    let passed = try connection.checkpoint(restart: false)
    guard passed.moved == passed.log || passed.log > 4 * logLimit else { return false }
    try guarded.withLock { (guarded) throws(StateStoreError) in
      if passed.moved < passed.log {
        // Changes come faster than they can be moved: for once, they have to wait.
        _ = try guarded.connection.checkpoint(restart: true)
      }
      // The first change after a whole checkpoint begins the log anew and, so that a power cut cannot mix the old one
      // with the new, forces its first page to the disk. Better here than in a request.
      try guarded.connection.run("UPDATE meta SET value = value + 1 WHERE name = 'checkpoints'")
    }
    return true
  }
}
