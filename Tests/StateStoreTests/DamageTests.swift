import Foundation
import TestSupport
import Testing

@testable import StateStore

/// Files that are not what we wrote: a clear error, and not a byte changed.
struct DamageTests {
  let scratch: Scratch

  /// A state with a hundred leases in it, closed.
  init() throws {
    scratch = try Scratch()
    let state = try StateDatabase.open(directory: scratch.path)
    for fence in 1...100 {
      let id = Sample.id(fence)
      try state.recordLease(Sample.lease(id, fence: fence), by: "127.0.0.1", requestID: nil)
    }
    state.close()
  }

  /// Opens what is there and expects an error that names the file and leaves it alone.
  private func refusal() throws -> StateStoreError {
    let before = try scratch.bytes()
    let error = #expect(throws: StateStoreError.self) { try StateDatabase.open(directory: scratch.path) }
    #expect(try scratch.bytes() == before)
    let text = "\(try #require(error))"
    #expect(text.contains(scratch.database))
    return try #require(error)
  }

  private func expectDamage(_ what: Comment) throws {
    let error = try refusal()
    guard case .corrupted = error else {
      Issue.record("\(what): \(error)")
      return
    }
    #expect("\(error)".contains("It was not touched."))
  }

  @Test func garbageIsRefused() throws {
    for size in [1, 99, 4096, 100_000] {
      try scratch.replace(with: Data(repeating: 0x5A, count: size))
      try expectDamage("\(size) bytes")
    }
  }

  @Test func anEmptyFileIsRefused() throws {
    try scratch.replace(with: Data())
    // SQLite would take the file for a new one, and its log for a leftover to be deleted.
    let log = Data(repeating: 1, count: 4096)
    try scratch.replace("vmpool.db-wal", with: log)
    try expectDamage("empty")
    #expect(try scratch.bytes("vmpool.db-wal") == log)
  }

  @Test func aTruncatedFileIsRefused() throws {
    let whole = try scratch.bytes()
    for size in [50, 100, 1024, whole.count / 2, whole.count - 1024, whole.count - 1] {
      try scratch.replace(with: whole.prefix(size))
      try expectDamage("\(size) of \(whole.count) bytes")
    }
  }

  @Test func aFlippedHeaderIsRefused() throws {
    let whole = try scratch.bytes()
    // The magic string, the page size, and the application's number.
    for offset in [0, 8, 16, 68] {
      var bytes = whole
      bytes[offset] ^= 0xFF
      try scratch.replace(with: bytes)
      try expectDamage("byte \(offset)")
    }
  }

  @Test func aPageOfGarbageIsRefused() throws {
    let whole = try scratch.bytes()
    for page in stride(from: 1, to: whole.count / 1024, by: 3) {
      var bytes = whole
      bytes.replaceSubrange(page * 1024..<page * 1024 + 1024, with: Data(repeating: 0xA5, count: 1024))
      try scratch.replace(with: bytes)
      try expectDamage("page \(page)")
    }
  }

  @Test func anotherProgramsDatabaseIsRefused() throws {
    do {
      try FileManager.default.removeItem(atPath: scratch.database)
      var other = try SQLiteConnection(scratch.database, .create)
      try other.script("CREATE TABLE lease(id); INSERT INTO lease VALUES(1);")
    }
    try expectDamage("another program's")
  }

  @Test func aLaterReleasesDatabaseIsRefused() throws {
    var bytes = try scratch.bytes()
    // user_version, big-endian.
    bytes.replaceSubrange(60..<64, with: [0, 0, 0, 99])
    try scratch.replace(with: bytes)
    let error = try refusal()
    #expect(error == .newerSchema(path: scratch.database, found: 99, known: Schema.version))
  }

  @Test func aLogWithoutItsFileIsRefused() throws {
    try FileManager.default.removeItem(atPath: scratch.database)
    try scratch.replace("vmpool.db-wal", with: Data([1, 2, 3]))
    let error = #expect(throws: StateStoreError.self) { try StateDatabase.open(directory: scratch.path) }
    guard case .corrupted = error else {
      Issue.record("\(error!)")
      return
    }
    #expect(!FileManager.default.fileExists(atPath: scratch.database))
    #expect(try scratch.bytes("vmpool.db-wal") == Data([1, 2, 3]))
  }

  @Test func aDamagedFileDoesNotGetItsLog() throws {
    let state = try StateDatabase.open(directory: scratch.path)
    try state.append(Sample.audit("in the log", "x"))
    let (file, log) = (try scratch.bytes(), try scratch.bytes("vmpool.db-wal"))
    state.close()
    var bytes = file
    bytes.replaceSubrange(8 * 1024..<bytes.count, with: Data(repeating: 0xA5, count: file.count - 8 * 1024))
    try scratch.replace(with: bytes)
    try scratch.replace("vmpool.db-wal", with: log)
    try expectDamage("with a log")
    #expect(try scratch.bytes("vmpool.db-wal") == log)
    // Put right, the log still counts.
    try scratch.replace(with: file)
    let entries = try StateDatabase.open(directory: scratch.path).audit(after: 0, limit: 1000)
    #expect(entries.last?.entry.action == "in the log")
  }

  @Test func whatWasBegunAndNeverNamedIsMadeAgain() throws {
    try FileManager.default.removeItem(atPath: scratch.database)
    try scratch.replace("vmpool.db.new", with: Data([1, 2, 3]))
    #expect(try StateDatabase.open(directory: scratch.path).recovered.epoch == 1)
  }

  /// Flipped bits in a row's own bytes cannot be told from what was written; all others are refused, and none crashes.
  @Test func flippedBytesNeverCrash() throws {
    var generator = SeededGenerator(for: "flippedBytesNeverCrash")
    let whole = try scratch.bytes()
    var refused = 0
    for _ in 0..<200 {
      var bytes = whole
      for _ in 0..<Int.random(in: 1...8, using: &generator) {
        bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
      }
      try scratch.replace(with: bytes)
      do {
        let state = try StateDatabase.open(directory: scratch.path)
        defer { state.close() }
        _ = try state.lease(id: Sample.id(7))
        _ = try state.audit(after: 0, limit: 1000)
      } catch {
        refused += 1
      }
    }
    #expect(refused > 0)
  }
}
