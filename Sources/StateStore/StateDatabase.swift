import Dispatch
import Glibc
import Synchronization

/// What outlives the process: pools declared over the API, leases, idempotency keys and the audit log, in SQLite.
///
/// **What is on disk when a call returns.** Every change is one transaction, with its audit entry. With
/// `Sync.normal` it then is in the file's log and in the kernel's hands: it survives the process being killed at any
/// moment, and any crash that leaves the kernel running. It survives a power cut or a kernel crash from the next
/// checkpoint on, which begins within a second of the change; such a crash may undo the last changes, always whole ones
/// and always the latest. With `Sync.full` a change is on the disk (fdatasync(2)) when the call returns, which costs
/// what the disk takes. What is in memory only (`directory: nil`) survives nothing.
///
/// **Why SQLite's C interface.** GRDB, the well-kept Swift library over it, was measured: a lease's grant (two rows in
/// one transaction) took 1.7 times as long through it at the median, above what a lease request may spend, and it added
/// minutes to a clean build. We need a dozen statements and one connection.
///
/// All calls are synchronous and may come from any thread; they take tens of microseconds, and wait for each other.
/// About once a second while there are changes, one may wait for an fsync(2) of the log's first page.
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
  // The connection that checkpoints; nil: in memory, or closed. Taken before `guarded`.
  private let checkpointing: Mutex<Connection?>
  // The connection that everything else goes through. A leaf.
  private let guarded: Mutex<Guarded>
  private let queue = DispatchQueue(label: "vmpool.state.checkpoint")

  private struct Guarded: ~Copyable {
    var connection: Connection
    /// Whether a checkpoint is on its way that has not begun.
    var checkpointScheduled = false
    var checkpointError: StateStoreError?
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
      return try StateDatabase(nil, connection, checkpointing: nil, limits, nowMS)
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
    var checkpointing = try Connection(locked.databasePath, .existing)
    try checkpointing.script("PRAGMA synchronous = NORMAL")
    return try StateDatabase(locked, connection, checkpointing: checkpointing, limits, nowMS)
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
    _ directory: consuming StateDirectory?, _ connection: consuming Connection,
    checkpointing: consuming Connection?, _ limits: StateLimits, _ nowMS: Int
  ) throws(StateStoreError) {
    var connection = connection
    recovered = try Recovered(&connection, nowMS)
    path = connection.path
    // What was refused so far stays as it is. From here on it is ours.
    connection.checkpointOnClose(true)
    self.limits = limits
    self.directory = Mutex(directory)
    self.checkpointing = Mutex(checkpointing)
    guarded = Mutex(Guarded(connection: connection))
  }

  deinit { close() }

  /// Moves the log into the database file and releases the directory. Whatever is called afterwards fails; closing
  /// again does nothing.
  public func close() {
    checkpointing.withLock { $0 = nil }
    // The last connection: closing it checkpoints.
    guarded.withLock { $0.connection.close() }
    directory.withLock { $0 = nil }
  }

  /// Why the latest checkpoint failed, if it did: changes are not being forced to the disk, and the log grows. The next
  /// change tries again within a second.
  public var checkpointError: StateStoreError? { guarded.withLock { $0.checkpointError } }

  /// The wall clock in Unix milliseconds.
  public static func wallClockMS() -> Int {
    var now = timespec()
    // Safe: a local, filled by the call.
    unsafe clock_gettime(CLOCK_REALTIME, &now)
    return now.tv_sec * 1000 + now.tv_nsec / 1_000_000
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
    try guarded.withLock { (guarded) throws(StateStoreError) in
      let result = try guarded.connection.transaction { (connection: inout Connection) throws(StateStoreError) in
        let result = try body(&connection)
        if let audit { try connection.append(audit) }
        return result
      }
      if !guarded.checkpointScheduled {
        guarded.checkpointScheduled = true
        queue.asyncAfter(deadline: .now() + 1) { [weak self] in self?.checkpoint() }
      }
      return result
    }
  }

  /// Forces what has been written to the disk, and moves the log into the database file.
  ///
  /// `logLimit`: the most frames (a page of 1 KiB each) that the log may have left afterwards.
  func checkpoint(logLimit: Int = 16_384) {
    checkpointing.withLock { connection in
      guard connection != nil else { return }
      // What is written from here on schedules the next one.
      guarded.withLock { $0.checkpointScheduled = false }
      var failure: StateStoreError?
      do throws(StateStoreError) {
        let passed = try connection!.checkpoint(restart: false)
        if passed.moved == passed.log {
          try startLog()
        } else if passed.log > logLimit {
          // Changes come faster than they can be moved: for once, they have to wait.
          try guarded.withLock { (guarded) throws(StateStoreError) in
            _ = try guarded.connection.checkpoint(restart: true)
          }
          try startLog()
        }
      } catch {
        failure = error
      }
      guarded.withLock { $0.checkpointError = failure }
    }
  }

  /// The first change after a whole checkpoint begins the log anew and, so that a power cut cannot mix the old one with
  /// the new, forces its first page to the disk. Better here than in a request.
  private func startLog() throws(StateStoreError) {
    try guarded.withLock { (guarded) throws(StateStoreError) in
      try guarded.connection.run("UPDATE meta SET value = value + 1 WHERE name = 'checkpoints'")
    }
  }
}
