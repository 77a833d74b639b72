import Glibc
import LinuxSupport
import Synchronization
import SystemPackage

// Changes on their way from the kernel's memory to the disk, and from the log into the database file.

extension StateDatabase {
  /// Why changes could not be forced to the disk the last time, if they could not: they still survive the process, and
  /// the log grows. It is tried again within a second of the next change.
  public var flushError: StateStoreError? { guarded.withLock { $0.flushError } }

  /// Has what was just changed flushed: in about a second, or at once if the log is long. Under `guarded`.
  func scheduleFlush(_ guarded: inout Guarded) {
    lookForRoom(&guarded)
    let isLong = guarded.connection.logFrames >= limits.logPages
    switch guarded.nextFlush {
    case .none where isLong, .soon where isLong:
      guarded.nextFlush = .atOnce
      // The thread is there since `open`, and its queue has room for this.
      try? worker.submit { [weak self] in self?.flush() }
    case .none:
      guarded.nextFlush = .soon
      guarded.flushTimer = inASecond { $0.flush() }
    case .soon, .atOnce: break
    }
  }

  /// Has `work` done by the worker in a second, unless the timer is let go of before.
  private func inASecond(_ work: @escaping @Sendable (StateDatabase) -> Void) -> DeadlineTimer {
    let timer = DeadlineTimer()
    // The thread of deadlines must not be the one that lets go of the database, since closing it touches the disk.
    timer.arm(afterNS: 1_000_000_000) { [weak self, worker] in
      try? worker.submit { [weak self] in if let self { work(self) } }
    }
    return timer
  }

  /// A log of nearly twice the limit means that changes come faster than they are moved: the caller moves them then,
  /// or waits for the flush that does.
  func waitForRoomInLog() {
    let isFull = guarded.withLock {
      $0.connection.logFrames >= limits.logPages * 7 / 4 && $0.flushError == nil && !$0.isLogRead
    }
    if isFull { flush(onlyIfLong: true) }
  }

  /// Forces what was changed to the disk, beside further changes. A log of `logLimit` pages or more is moved into the
  /// database file and begins anew; a shorter one is passed over if `onlyIfLong`.
  func flush(logLimit: Int? = nil, onlyIfLong: Bool = false) {
    let error = flushing.withLock { flushing -> StateStoreError? in
      guard flushing != nil else { return nil }
      // A change from here on schedules the next flush.
      let frames = guarded.withLock { guarded in
        guarded.nextFlush = .none
        return guarded.connection.logFrames
      }
      let isShort = frames < logLimit ?? limits.logPages
      if isShort, onlyIfLong { return nil }
      var failure: StateStoreError?
      do throws(StateStoreError) {
        try flush(&flushing!, isShort)
      } catch {
        failure = error
      }
      setRoomAside(&flushing!)
      guarded.withLock { $0.flushError = failure }
      return failure
    }
    if let error, writeRecord.failed(error) { tryAgainSoon() }
  }

  private func flush(_ flushing: inout Flushing, _ isShort: Bool) throws(StateStoreError) {
    guard isShort else { return try moveLog(&flushing.connection) }
    guard fdatasync(flushing.log.rawValue) == 0 else { throw Self.syncError(errno, path + "-wal") }
  }

  private static func syncError(_ number: Int32, _ path: String) -> StateStoreError {
    let cause = Errno(rawValue: number)
    return switch cause {
    case .noSpace, .diskQuotaExceeded: .full(path: path, reason: "\(cause)")
    default: .failed(path: path, reason: "\(cause)")
    }
  }

  /// Moves the log into the database file, and begins it anew.
  private func moveLog(_ connection: inout SQLiteConnection) throws(StateStoreError) {
    guarded.withLock { $0.connection.releaseSnapshot() }
    // Changes only take longer if it cannot be held; the next flush tries again.
    defer { guarded.withLock { try? $0.connection.holdSnapshot() } }
    // The bulk moves while changes go on; again where much was changed meanwhile.
    for _ in 0..<4 {
      let before = guarded.withLock { $0.connection.logFrames }
      _ = try connection.checkpoint(waits: false)
      let added = guarded.withLock { $0.connection.logFrames } - before
      if added < limits.logPages / 64 { break }
    }
    try guarded.withLock { (guarded) throws(StateStoreError) in
      // The rest moves while changes wait, because a log begins anew only when nothing is left in it.
      let (log, moved) = try guarded.connection.checkpoint(waits: false)
      guarded.isLogRead = moved < log
      if guarded.isLogRead { return }
      // The first change after that begins the log anew and forces its first page to the disk, so that a power cut
      // cannot mix the old log with the new. Better here than in a request.
      try guarded.connection.run("UPDATE meta SET value = value + 1 WHERE name = 'checkpoints'")
    }
  }

  /// After a failure: finds out every second whether writing works again, without waiting for a request to try.
  func tryAgainSoon() {
    let timer = inASecond { $0.tryAgain() }
    guarded.withLock { $0.retryTimer = timer }
  }

  private func tryAgain() {
    guard writeRecord.retries() else { return }
    tryAgainSoon()
    do throws(StateStoreError) {
      try directory.withLock { (directory) throws(StateStoreError) in try directory?.tryWriting() }
      try guarded.withLock { (guarded) throws(StateStoreError) in
        try guarded.recordStart()
        try guarded.connection.run("UPDATE meta SET value = value + 1 WHERE name = 'checkpoints'")
        scheduleFlush(&guarded)
      }
      writeRecord.succeeded()
    } catch {
      // The failure before this one is known. The next try is scheduled.
    }
  }
}
