import Glibc
import LinuxSupport
import Synchronization
import SystemPackage

/// What outlives the process: pools declared over the API, leases, idempotency keys and the audit log, in SQLite.
///
/// **What is on disk when a call returns.** Every change is one transaction, with its audit entry. With
/// `Sync.normal` it then is in the file's log and in the kernel's hands: it survives the process being killed at any
/// moment, and any crash that leaves the kernel running. About a second later it is on the disk, and survives a power
/// cut and a kernel crash as well. Before that, such a crash may undo the latest changes, always whole ones. With
/// `Sync.full` a change is on the disk (fdatasync(2)) when the call returns, which costs what the disk takes. A state in
/// memory only (`directory: nil`) survives nothing.
///
/// **Why SQLite's C interface.** We measured GRDB, the well-kept Swift library over it. A lease's grant (two rows in one
/// transaction) took 1.7 times as long through it at the median, above what a lease request may spend. It also added minutes
/// to a clean build. We need a dozen statements and one connection.
///
/// All calls are synchronous and may come from any thread; they take tens of microseconds, and wait for each other.
/// The log is moved into the database file in the background, beside changes. What is changed meanwhile is moved last,
/// and the log begins anew: for that moment, once in some ten thousand changes, changes wait for the disk.
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
  let leaseNames: LeaseNames

  // nil: in memory, or closed. A leaf.
  let directory: Mutex<StateDirectory?>
  // What forces changes to the disk; nil: in memory, or closed. Taken before `guarded`.
  let flushing: Mutex<Flushing?>
  // The connection that everything else goes through. Only the locks of the worker and of deadlines are taken under it.
  let guarded: Mutex<Guarded>
  // For reading what may be much, beside changes; nil: in memory, or closed. A leaf.
  private let reading: Mutex<SQLiteConnection?>
  // Flushes, and tries to write again after a failure. At most a flush at once, one that was due and a try wait for it.
  let worker: WorkerPool
  let writeRecord: WriteRecord
  /// What `lookForRoom` found. Relaxed: it orders nothing, and pairs with nothing but itself.
  let hasRoom: Atomic<Bool>

  struct Flushing: ~Copyable {
    /// A connection of its own: it may checkpoint while the other one writes.
    var connection: SQLiteConnection
    /// The log, for fdatasync(2) and fallocate(2). (The database file itself must not be opened and closed beside SQLite,
    /// which would lose its locks.)
    let log: OwnedDescriptor
  }

  struct Guarded: ~Copyable {
    var connection: SQLiteConnection
    /// The flush that will begin next.
    var nextFlush = NextFlush.none
    /// Whether another program was reading the log when it was moved: it cannot begin anew before that has ended.
    var isLogRead = false
    var flushError: StateStoreError?
    /// When the flush and the next try after a failure are due. Kept, since a timer that is let go of does nothing.
    var flushTimer: DeadlineTimer?
    var retryTimer: DeadlineTimer?
    /// Nil in memory, where there is all the room there is.
    var room: LogRoom?
    /// The start, until it is on record: on a disk that is full it is recorded later, and nothing else before it.
    var unrecordedStart: Recovered?

    /// Records the start where that is still to be done.
    mutating func recordStart() throws(StateStoreError) {
      guard let unrecordedStart else { return }
      try unrecordedStart.record(&connection)
      self.unrecordedStart = nil
    }

    enum NextFlush { case none, soon, atOnce }
  }

  /// Opens the state in `directory`, which must exist, or makes it there; nil: keeps it in memory.
  ///
  /// The directory is locked until `close`. A file that is damaged, or was written by a later release, is refused and
  /// left as it is. `nowMS`, in Unix milliseconds, is when leases that were left open are said to be lost. Where a full
  /// disk does not take that, the state opens all the same, and refuses changes until there is room.
  ///
  /// Calls `report` when writing begins to fail, at most twice a minute while it goes on failing, and when it succeeds
  /// again. On any thread, with no lock held.
  public static func open(
    directory: String?, sync: Sync = .normal, limits: StateLimits = StateLimits(), nowMS: Int = wallClockMS(),
    report: @escaping @Sendable (WriteReport) -> Void = { _ in }
  ) throws(StateStoreError) -> StateDatabase {
    guard let directory else {
      var connection = try SQLiteConnection(":memory:", .memory)
      try Schema.migrate(&connection, from: 0)
      try connection.readLeaseNames()
      let recovered = try Recovered(&connection, nowMS)
      try recovered.record(&connection)
      return StateDatabase(
        recovered, nil, connection, flushing: nil, reading: nil, try startedWorker(), limits, report)
    }
    let locked = try StateDirectory(directory)
    try locked.createDatabaseIfMissing()
    var connection = try SQLiteConnection(locked.databasePath, .existing)
    let version = try check(&connection)
    try connection.script(
      """
      PRAGMA journal_mode = WAL; PRAGMA cache_size = -8192; PRAGMA temp_store = MEMORY;
      PRAGMA synchronous = \(sync.rawValue);
      """)
    try Schema.migrate(&connection, from: version)
    try connection.readLeaseNames()
    let recovered = try Recovered(&connection, nowMS)
    try connection.countContents()
    var failure: StateStoreError?
    do throws(StateStoreError) {
      try recovered.record(&connection)
      // An earlier release had no budgets.
      try connection.keepBudgets(limits, epoch: recovered.epoch, step: 1000)
    } catch {
      guard case .full = error else { throw error }
      failure = error
    }
    var second = try SQLiteConnection(locked.databasePath, .existing)
    try second.script("PRAGMA synchronous = NORMAL")
    // The log is there since the first change. Its name must outlive a power cut, too.
    let flushing = Flushing(connection: second, log: try locked.openLog())
    try locked.flush()
    try connection.holdSnapshot()
    // What was refused so far stays as it is. From here on it is ours.
    connection.checkpointOnClose(true)
    let third = try SQLiteConnection(locked.databasePath, .readOnly)
    let state = StateDatabase(
      recovered, locked, connection, flushing: flushing, reading: third, try startedWorker(), limits, report)
    if let failure { state.recordStartLater(failure) }
    return state
  }

  /// Leaves the start to the next change, or to the moment when there is room.
  private func recordStartLater(_ failure: StateStoreError) {
    guarded.withLock { $0.unrecordedStart = recovered }
    if writeRecord.failed(failure) { tryAgainSoon() }
  }

  /// Starts the worker's thread, so that nothing that is due later lacks it.
  private static func startedWorker() throws(StateStoreError) -> WorkerPool {
    let worker = WorkerPool(name: "state", role: .files, threads: 1, queueLimit: 8)
    do throws(WorkerPool.Refusal) {
      try worker.submit {}
    } catch {
      throw .failed(path: "the state", reason: "the system gives no thread that forces it to the disk")
    }
    return worker
  }

  /// Refuses what we did not write, without changing it; returns the schema's version.
  private static func check(_ connection: inout SQLiteConnection) throws(StateStoreError) -> Int {
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
    // Reads the whole file once: as much as the limits let it grow, some 200 MB at most.
    try connection.script("PRAGMA cell_size_check = ON")
    let found = try connection.rows("PRAGMA quick_check(1)") { row throws(StateStoreError) in row.text(0) }
    guard found == ["ok"] else {
      throw .corrupted(path: connection.path, reason: found.first ?? "the check found nothing to say")
    }
    return version
  }

  private init(
    _ recovered: Recovered, _ directory: consuming StateDirectory?, _ connection: consuming SQLiteConnection,
    flushing: consuming Flushing?, reading: consuming SQLiteConnection?, _ worker: WorkerPool, _ limits: StateLimits,
    _ report: @escaping @Sendable (WriteReport) -> Void
  ) {
    self.recovered = recovered
    self.limits = limits
    writeRecord = WriteRecord(report)
    hasRoom = Atomic(directory == nil)
    path = connection.path
    leaseNames = connection.leaseNames
    guarded = Mutex(Guarded(connection: connection, room: directory == nil ? nil : LogRoom()))
    self.directory = Mutex(directory)
    self.flushing = Mutex(flushing)
    self.reading = Mutex(reading)
    self.worker = worker
    self.flushing.withLock { if $0 != nil { setRoomAside(&$0!) } }
  }

  deinit { close() }

  /// Moves the log into the database file and releases the directory. Later calls fail; closing again does
  /// nothing.
  ///
  /// On a disk that is full the log stays, with the room that is set aside for it: without that, the next start could not
  /// write.
  public func close() {
    let keepsLog = directory.withLock { $0?.hasRoom(bytes: LogRoom.bytesOfStart) == false }
    flushing.withLock { $0 = nil }
    reading.withLock { $0 = nil }
    guarded.withLock { guarded in
      if keepsLog { guarded.connection.checkpointOnClose(false) }
      guarded.flushTimer = nil
      guarded.retryTimer = nil
      // The last connection: closing it checkpoints.
      guarded.connection.close()
    }
    directory.withLock { $0 = nil }
  }

  /// The wall clock in Unix milliseconds.
  public static func wallClockMS() -> Int {
    Int(WallClock.now() / 1_000_000)
  }

  func read<T: Sendable>(
    _ body: (inout SQLiteConnection) throws(StateStoreError) -> T
  ) throws(StateStoreError) -> T {
    try guarded.withLock { (guarded) throws(StateStoreError) in try body(&guarded.connection) }
  }

  /// Reads what may be much. Where there is a file, changes do not wait meanwhile; in memory there is no other connection.
  func readAside<T: Sendable>(
    _ body: (inout SQLiteConnection) throws(StateStoreError) -> T
  ) throws(StateStoreError) -> T {
    let read: T? = try reading.withLock { (connection) throws(StateStoreError) in
      guard connection != nil else { return nil }
      return try body(&connection!)
    }
    return if let read { read } else { try self.read(body) }
  }

  /// Makes changes in one transaction, with their audit entry.
  func write<T: Sendable>(
    _ audit: AuditEntry?, _ body: (inout SQLiteConnection) throws(StateStoreError) -> T
  ) throws(StateStoreError) -> T {
    try change { (connection: inout SQLiteConnection) throws(StateStoreError) in
      try connection.transaction { (connection: inout SQLiteConnection) throws(StateStoreError) in
        let result = try body(&connection)
        if let audit { try connection.append(audit) }
        return result
      }
    }
  }

  /// Makes changes in transactions of their own. A failure other than a conflict counts as a failure to write.
  func change<T: Sendable>(
    _ body: (inout SQLiteConnection) throws(StateStoreError) -> T
  ) throws(StateStoreError) -> T {
    let result: T
    do throws(StateStoreError) {
      waitForRoomInLog()
      result = try guarded.withLock { (guarded) throws(StateStoreError) in
        try guarded.recordStart()
        let result = try body(&guarded.connection)
        // What was asked for is done. A budget that cannot be kept now is kept after the next change.
        try? guarded.connection.keepBudgets(limits, epoch: recovered.epoch, step: 1)
        scheduleFlush(&guarded)
        return result
      }
    } catch {
      if case .conflict = error { throw error }
      if writeRecord.failed(error) { tryAgainSoon() }
      throw error
    }
    writeRecord.succeeded()
    return result
  }
}
