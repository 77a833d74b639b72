import CSQLite
import SystemPackage

/// A value bound to a statement's parameter.
enum Value {
  case null
  case int(Int)
  case text(String)
  case blob([UInt8])

  static func text(_ text: String?) -> Value { text.map { .text($0) } ?? .null }
  static func int(_ number: Int?) -> Value { number.map { .int($0) } ?? .null }
}

/// A connection to one database, with its prepared statements.
// Sendable: SQLite's connections may go from thread to thread as long as one at a time uses them, and all that is done
// with one needs exclusive access to this value.
@safe struct SQLiteConnection: ~Copyable, @unchecked Sendable {
  enum Mode {
    case existing
    case readOnly
    case create
    case memory
  }

  let path: String
  private let handle: OpaquePointer
  private var statements: [String: OpaquePointer]
  private var isOpen = true
  private let frames: UnsafeMutablePointer<Int32>
  /// What the tables hold; a transaction that fails restores it.
  var contents = Contents()
  /// How leases are called.
  var leaseNames = LeaseNames(secret: [])

  /// Opens `path` without reading it. Closing leaves all files alone until `checkpointOnClose(true)` is called.
  init(_ path: String, _ mode: Mode) throws(StateStoreError) {
    let flags =
      switch mode {
      case .existing: SQLITE_OPEN_READWRITE
      case .readOnly: SQLITE_OPEN_READONLY
      case .create: SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
      case .memory: SQLITE_OPEN_READWRITE | SQLITE_OPEN_MEMORY
      }
    var opened: OpaquePointer?
    // Safe: SQLite fills the local. The connection may be used by one thread at a time, which its owner sees to.
    let code = unsafe sqlite3_open_v2(path, &opened, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nil)
    guard let connection = unsafe opened else { throw .failed(path: path, reason: "no memory for SQLite") }
    guard code == SQLITE_OK else {
      // Safe: a connection that could not be opened has a message, and must be closed.
      let error = unsafe Self.error(of: connection, code, path)
      unsafe sqlite3_close_v2(connection)
      throw error
    }
    unsafe handle = connection
    unsafe statements = [:]
    self.path = path
    unsafe frames = .allocate(capacity: 1)
    unsafe frames.initialize(to: 0)
    // Only another program that has the file open makes us wait.
    // Safe: the handle is open, here and below as `isOpen` says; `frames` is freed after it is closed.
    unsafe sqlite3_busy_timeout(handle, 250)
    unsafe csqlite_count_frames(handle, frames)
    checkpointOnClose(false)
  }

  deinit {
    // Safe: it was not closed before, and nothing uses it afterwards.
    if isOpen { unsafe Self.close(handle, statements.values) }
    // Safe: no connection is left that would write there.
    unsafe frames.deallocate()
  }

  /// Closes the connection. Everything but `isOpen` and closing again then fails.
  mutating func close() {
    guard isOpen else { return }
    isOpen = false
    // Safe: closed once, as `isOpen` says; nobody else has the statements or the handle.
    unsafe Self.close(handle, statements.values)
    unsafe statements = [:]
  }

  private static func close(_ handle: OpaquePointer, _ statements: some Sequence<OpaquePointer>) {
    // Safe: the caller sees to it that neither is used again.
    unsafe statements.forEach { unsafe sqlite3_finalize($0) }
    unsafe sqlite3_close_v2(handle)
  }

  private func checkOpen() throws(StateStoreError) {
    guard isOpen else { throw .failed(path: path, reason: "the state was closed before") }
  }

  /// Whether closing the last connection moves the log into the database file and removes the log.
  mutating func checkpointOnClose(_ on: Bool) {
    // Safe: the handle is open.
    _ = unsafe csqlite_set_no_checkpoint_on_close(handle, on ? 0 : 1)
  }

  /// Whether SQLite could open the file for reading only.
  var isReadOnly: Bool {
    mutating get {
      // Safe: the handle is open.
      unsafe sqlite3_db_readonly(handle, "main") == 1
    }
  }

  /// How many rows the latest statement changed.
  var changes: Int {
    mutating get {
      // Safe: the handle is open.
      Int(unsafe sqlite3_changes64(handle))
    }
  }

  /// How many frames, of a page each, the log had after this connection's latest commit. It falls back when the log
  /// begins anew.
  var logFrames: Int {
    // Safe: SQLite writes it in calls on this connection, which need exclusive access to this value.
    Int(unsafe frames.pointee)
  }

  /// Runs statements without parameters or rows.
  mutating func script(_ sql: String) throws(StateStoreError) {
    try checkOpen()
    // Safe: the handle is open, and the text lives for the call.
    let code = unsafe sqlite3_exec(handle, sql, nil, nil, nil)
    guard code == SQLITE_OK else { throw error(code) }
  }

  /// Runs one statement that yields no rows, or whose rows do not matter.
  mutating func run(_ sql: String, _ values: Value...) throws(StateStoreError) {
    try execute(sql, values) { _ throws(StateStoreError) in }
  }

  /// Runs one statement and returns what `read` makes of each row.
  mutating func rows<T>(
    _ sql: String, _ values: Value..., read: (borrowing Row) throws(StateStoreError) -> T
  ) throws(StateStoreError) -> [T] {
    var all: [T] = []
    try execute(sql, values) { row throws(StateStoreError) in all.append(try read(row)) }
    return all
  }

  /// The one number that a statement yields.
  mutating func number(_ sql: String, _ values: Value...) throws(StateStoreError) -> Int {
    var number: Int?
    try execute(sql, values) { row throws(StateStoreError) in number = row.int(0) }
    guard let number else { throw .corrupted(path: path, reason: "a number that is always there is missing") }
    return number
  }

  /// Runs `body` in a transaction, which is rolled back when it throws.
  mutating func transaction<T>(
    _ body: (inout SQLiteConnection) throws(StateStoreError) -> T
  ) throws(StateStoreError) -> T {
    try run("BEGIN IMMEDIATE")
    let contents = contents
    do throws(StateStoreError) {
      let result = try body(&self)
      try run("COMMIT")
      return result
    } catch {
      self.contents = contents
      // Some errors roll back by themselves. If this fails, the next BEGIN does too, and says so.
      // Safe: the handle is open.
      if unsafe sqlite3_get_autocommit(handle) == 0 { unsafe sqlite3_exec(handle, "ROLLBACK", nil, nil, nil) }
      throw error
    }
  }

  /// Moves the log's frames into the database file, and forces both to the disk. Returns how many frames the log had
  /// when this began, and how many of them are moved by now. `waits` for readers and writers.
  mutating func checkpoint(waits: Bool) throws(StateStoreError) -> (log: Int, moved: Int) {
    try checkOpen()
    var log: Int32 = 0
    var moved: Int32 = 0
    let mode = waits ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE
    // Safe: the handle is open, and the numbers are locals.
    let code = unsafe sqlite3_wal_checkpoint_v2(handle, nil, mode, &log, &moved)
    guard code == SQLITE_OK else { throw error(code) }
    return (Int(log), Int(moved))
  }

  /// Begins to read, and goes on reading: each later change then saves the four system calls that lock the log for
  /// reading and unlock it. What this connection writes meanwhile cannot be moved out of the log.
  mutating func holdSnapshot() throws(StateStoreError) {
    // Safe: the statement is ours, and no other thread steps it; standing on a row, it keeps its transaction.
    let statement = try unsafe prepared(Self.heldSQL)
    _ = unsafe sqlite3_reset(statement)
    let code = unsafe sqlite3_step(statement)
    guard code == SQLITE_ROW else { throw error(code) }
  }

  /// Stops reading.
  mutating func releaseSnapshot() {
    // Safe: the statement is ours, and no other thread steps it.
    guard isOpen, let statement = unsafe statements[Self.heldSQL] else { return }
    _ = unsafe sqlite3_reset(statement)
  }

  private static let heldSQL = "SELECT 1 FROM meta"

  mutating func execute(
    _ sql: String, _ values: [Value], _ read: (borrowing Row) throws(StateStoreError) -> Void
  ) throws(StateStoreError) {
    // Safe: the statement is ours until it is reset, and no other thread steps it.
    let statement = try unsafe prepared(sql)
    defer {
      // Safe: the statement is ours. What reset returns was reported by step already. What is bound stays until it is
      // bound anew: every run gives all parameters.
      _ = unsafe sqlite3_reset(statement)
    }
    for (index, value) in values.enumerated() {
      // Safe: the statement is prepared and not being stepped; SQLite copies what it is given.
      let code = unsafe Self.bind(value, to: statement, Int32(index + 1))
      guard code == SQLITE_OK else { throw error(code) }
    }
    var isRetried = false
    while true {
      // Safe: as above; a row is valid until the next step.
      switch unsafe sqlite3_step(statement) {
      case SQLITE_ROW: try read(unsafe Row(statement))
      case SQLITE_DONE: return
      case csqlite_busy_snapshot where !isRetried:
        // Another program has changed the file since our reading began.
        isRetried = true
        // First: as long as it waits it reads, too.
        _ = unsafe sqlite3_reset(statement)
        try holdSnapshot()
      case let code: throw error(code)
      }
    }
  }

  private mutating func prepared(_ sql: String) throws(StateStoreError) -> OpaquePointer {
    try checkOpen()
    // Safe: statements live as long as the connection is open.
    if let statement = unsafe statements[sql] { return unsafe statement }
    var made: OpaquePointer?
    // Safe: the text lives for the call; SQLite fills the local.
    let code = unsafe sqlite3_prepare_v3(handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &made, nil)
    guard code == SQLITE_OK, let statement = unsafe made else { throw error(code) }
    unsafe statements[sql] = statement
    return unsafe statement
  }

  // Safe to call with a statement that is prepared and not being stepped.
  private static func bind(_ value: Value, to statement: OpaquePointer, _ index: Int32) -> Int32 {
    // Safe: the bytes live for each call, and SQLite copies them.
    switch value {
    case .null: return unsafe sqlite3_bind_null(statement, index)
    case .int(let number): return unsafe sqlite3_bind_int64(statement, index, Int64(number))
    case .text(var text):
      return text.withUTF8 { unsafe csqlite_bind_text(statement, index, $0.baseAddress, $0.count) }
    case .blob(let bytes):
      return unsafe bytes.withUnsafeBytes {
        unsafe csqlite_bind_blob(statement, index, $0.baseAddress, $0.count)
      }
    }
  }

  private func error(_ code: Int32) -> StateStoreError {
    // Safe: the handle is open.
    unsafe Self.error(of: handle, code, path)
  }

  private static func error(of handle: OpaquePointer, _ code: Int32, _ path: String) -> StateStoreError {
    // Safe: the message is copied before anything else is done with the connection.
    let message = unsafe sqlite3_errmsg(handle).map { unsafe String(cString: $0) } ?? "no message"
    let cause = Errno(rawValue: unsafe sqlite3_system_errno(handle))
    let reason = cause.rawValue == 0 ? message : "\(message) (\(cause))"
    switch code & 0xFF {
    case SQLITE_CORRUPT, SQLITE_NOTADB: return .corrupted(path: path, reason: message)
    case SQLITE_FULL: return .full(path: path, reason: message)
    case SQLITE_IOERR where [.noSpace, .diskQuotaExceeded, .fileTooLarge].contains(cause):
      return .full(path: path, reason: reason)
    case SQLITE_READONLY, SQLITE_PERM: return .readOnly(path: path, reason: reason)
    case SQLITE_CANTOPEN: return .cannotOpen(path: path, reason: reason)
    case SQLITE_CONSTRAINT: return .conflict("what was to be stored is there already: \(message)")
    default: return .failed(path: path, reason: reason)
    }
  }
}

/// The row a statement stands on.
@safe struct Row: ~Copyable {
  private let statement: OpaquePointer

  // Safe: made by `execute` alone, for as long as its statement stands on the row.
  fileprivate init(_ statement: OpaquePointer) { unsafe self.statement = statement }

  func isNull(_ column: Int32) -> Bool {
    // Safe: as in init, here and below; a column that does not exist reads as null.
    unsafe sqlite3_column_type(statement, column) == SQLITE_NULL
  }

  // Safe: as in init; a column that does not exist reads as 0.
  func int(_ column: Int32) -> Int { Int(unsafe sqlite3_column_int64(statement, column)) }

  func optionalInt(_ column: Int32) -> Int? { isNull(column) ? nil : int(column) }

  func text(_ column: Int32) -> String { String(decoding: blob(column), as: UTF8.self) }

  func optionalText(_ column: Int32) -> String? { isNull(column) ? nil : text(column) }

  func blob(_ column: Int32) -> [UInt8] {
    // Safe: the pointer is asked for first, as SQLite wants it, and copied from at once.
    guard let bytes = unsafe sqlite3_column_blob(statement, column) else { return [] }
    return unsafe Array(UnsafeRawBufferPointer(start: bytes, count: Int(sqlite3_column_bytes(statement, column))))
  }
}
