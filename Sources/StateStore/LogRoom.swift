import LinuxSupport

/// Room in the file system that is set aside for the log, ahead of what is written to it. So a disk that has filled is known
/// before a record cannot be written, and what is on record already need not be undone.
struct LogRoom: Sendable {
  /// The frames that must be left for a lease to be sure of its record: for the largest, and for those that are written at
  /// the same time.
  static let margin = 256
  /// How far ahead of the log room is set aside.
  static let ahead = 1024
  /// SQLite finds frames by an index, which is a file as well and grows by so many frames at a time. The first time it grows
  /// by 34 fewer, where its head is (sqlite.org/walformat.html, 2.3).
  private static let indexStep = 4096
  private static let indexHead = 34

  /// Frames that the log has room for.
  private var reserved = 0
  /// The most frames that the index has held.
  private var indexed = 0

  /// Whether a lease's record is sure to fit behind the log's first `frames`.
  mutating func suffices(behind frames: Int) -> Bool {
    indexed = max(indexed, frames)
    let segments = (indexed + Self.indexHead + Self.indexStep - 1) / Self.indexStep
    return frames + Self.margin <= min(reserved, segments * Self.indexStep - Self.indexHead)
  }

  /// How many bytes the log's file needs so that room is set aside behind its first `frames`; nil where enough is.
  func wanted(behind frames: Int) -> Int? {
    frames + Self.ahead / 2 <= reserved ? nil : Self.bytes(frames + Self.ahead)
  }

  /// Room for so many bytes was set aside.
  mutating func grew(to bytes: Int) { reserved = max(reserved, (bytes - Self.logHead) / Self.frameBytes) }

  /// What a start takes of a file system that has no log: its index, and the room that is set aside for it.
  static let bytesOfStart = bytes(ahead) + 64 << 10

  private static let logHead = 32
  private static let frameBytes = StateDirectory.pageBytes + 24
  private static func bytes(_ frames: Int) -> Int { logHead + frames * frameBytes }
}

extension StateDatabase {
  /// Whether a lease that is granted now can be recorded, as far as is known: the latest write succeeded, and the file system
  /// has set room aside for its record. Costs two loads.
  public var canRecord: Bool { !isFailing && hasRoom.load(ordering: .relaxed) }

  /// Finds out whether the log has room for what comes next. Under `guarded`.
  func lookForRoom(_ guarded: inout Guarded) {
    hasRoom.store(guarded.room?.suffices(behind: guarded.connection.logFrames) ?? true, ordering: .relaxed)
  }

  /// Sets room aside for what the log will take next. Under `flushing` alone: the file system may take its time.
  func setRoomAside(_ flushing: inout Flushing) {
    let wanted = guarded.withLock { $0.room?.wanted(behind: $0.connection.logFrames) }
    // Where the file system is full, or cannot do this, `canRecord` is false once what is left is used up.
    guard let wanted, (try? flushing.log.setRoomAside(bytes: wanted)) != nil else { return }
    guarded.withLock { guarded in
      guarded.room?.grew(to: wanted)
      lookForRoom(&guarded)
    }
  }
}
