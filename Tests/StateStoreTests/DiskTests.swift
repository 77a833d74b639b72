import Foundation
import Glibc
import Synchronization
import Testing

@testable import StateStore

/// File systems that are full or read-only. A tmpfs of the test's own plays them, since root may write anywhere.
@Suite(.enabled(if: SmallFileSystem.allowed, "mounting a tmpfs needs root"))
struct DiskTests {
  @Test func aFullDiskIsSaidAndNothingPromisedIsLost() throws {
    let disk = try SmallFileSystem("size=256k")
    var promised: [String] = []
    func grant(_ state: StateDatabase) throws {
      let id = Sample.id(promised.count + 1)
      try state.recordLease(
        Sample.lease(id, fence: promised.count + 1), by: "127.0.0.1", requestID: nil)
      promised.append(id)
    }
    do {
      let state = try StateDatabase.open(directory: disk.path)
      defer { state.close() }
      let error = #expect(throws: StateStoreError.self) { while promised.count < 10_000 { try grant(state) } }
      guard case .full(let path, _) = error else {
        Issue.record("\(String(describing: error))")
        return
      }
      #expect(path == disk.path + "/vmpool.db")
      #expect(promised.count > 10)
      // What failed did not happen; what was promised is there, and can be read.
      #expect(try state.lease(id: Sample.id(promised.count + 1)) == nil)
      for id in promised { #expect(try state.lease(id: id) != nil) }
      #expect(try state.audit(after: 0, limit: 10_000).map(\.entry.subject) == promised)
      #expect(throws: StateStoreError.self) { try grant(state) }
      // A checkpoint that finds no room says so and loses nothing.
      state.flush(logLimit: 0)
      // With room again, it goes on.
      try #require(disk.remount("size=8m"))
      for _ in 0..<10 { try grant(state) }
      state.flush(logLimit: 0)
      #expect(state.flushError == nil)
    }
    let state = try StateDatabase.open(directory: disk.path)
    #expect(state.recovered.lostLeases.map(\.id) == promised)
    #expect(try state.audit(after: 0, limit: 10_000).prefix(promised.count).map(\.entry.subject) == promised)
  }

  /// Room is set aside for the log, so that a lease which is said to be sure of its record gets it on a disk that has filled.
  @Test func aFullDiskTakesNoRecordThatWasSure() throws {
    let disk = try SmallFileSystem("size=4m")
    let state = try StateDatabase.open(directory: disk.path)
    var number = 0
    func grant() throws {
      number += 1
      try state.recordLease(Sample.lease(Sample.id(number), fence: number), by: "127.0.0.1", requestID: nil)
    }
    #expect(state.canRecord)
    disk.fill()
    while state.canRecord, number < 10_000 { try grant() }
    #expect(number > 10 && number < 10_000)
    // The next ones take what is left of the room.
    #expect(throws: StateStoreError.self) { while number < 10_000 { try grant() } }
    #expect(!state.canRecord)
    try #require(disk.remount("size=16m"))
    try grant()
    state.flush()
    #expect(state.canRecord)
  }

  /// Leases that were left open are lost, whether or not that can be recorded. It is, once there is room.
  @Test func aStartThatCannotBeRecordedIsRecordedLater() async throws {
    let disk = try SmallFileSystem("size=4m")
    var number = 0
    func grant(_ state: StateDatabase) throws {
      let lease = Sample.lease(Sample.id(number + 1), fence: number + 1)
      try state.recordLease(lease, by: "127.0.0.1", requestID: nil)
      number += 1
    }
    do {
      let state = try StateDatabase.open(directory: disk.path)
      defer { state.close() }
      disk.fill()
      // All that is set aside.
      #expect(throws: StateStoreError.self) { while number < 10_000 { try grant(state) } }
    }
    disk.fill()
    let lost = (1...number).map(Sample.id)
    let (recovery, recovered) = AsyncStream.makeStream(of: Void.self)
    do {
      let state = try StateDatabase.open(directory: disk.path, nowMS: 5000) { report in
        if report == .recovered { recovered.yield() }
      }
      defer { state.close() }
      #expect(state.recovered.lostLeases.map(\.id) == lost)
      #expect(state.recovered.highestFence == number && state.recovered.epoch == 2)
      #expect(state.isFailing && !state.canRecord)
      #expect(try state.lease(id: lost[0])?.end?.reason == .lost)
      #expect(throws: StateStoreError.self) { try grant(state) }
      // Nothing is on record before the start is.
      #expect(throws: StateStoreError.self) {
        try state.beginIdempotent(scope: "s", key: "k", fingerprint: [], nowMS: 5000)
      }
      #expect(try state.audit(after: 0, limit: 100_000).count == lost.count)
      try #require(disk.remount("size=16m"))
      for await _ in recovery { break }
      #expect(try state.audit(after: lost.count, limit: 100_000).map(\.entry.subject) == lost)
      try grant(state)
    }
    let state = try StateDatabase.open(directory: disk.path)
    #expect(state.recovered.lostLeases.map(\.id) == [Sample.id(number)])
    #expect(state.recovered.epoch == 3)
    #expect(try state.lease(id: lost[0])?.end?.atMS == 5000)
  }

  @Test func whatIsInMemoryCanBeRecorded() throws {
    let state = try StateDatabase.open(directory: nil)
    #expect(state.canRecord)
    try state.recordLease(Sample.lease(Sample.id(1), fence: 1), by: "127.0.0.1", requestID: nil)
    #expect(state.canRecord)
  }

  /// Failures are counted and reported, and the state finds out by itself that there is room again.
  @Test func failuresAreCountedUntilThereIsRoomAgain() async throws {
    let disk = try SmallFileSystem("size=256k")
    let reports = Mutex<[WriteReport]>([])
    let (recovery, recovered) = AsyncStream.makeStream(of: Void.self)
    let state = try StateDatabase.open(directory: disk.path) { report in
      reports.withLock { $0.append(report) }
      if report == .recovered { recovered.yield() }
    }
    #expect(state.writeHealth == WriteHealth())
    var number = 0
    #expect(throws: StateStoreError.self) {
      while number < 10_000 {
        number += 1
        try state.recordLease(Sample.lease(Sample.id(number), fence: number), by: "127.0.0.1", requestID: nil)
      }
    }
    for _ in 0..<10 {
      #expect(throws: StateStoreError.self) {
        try state.recordLease(Sample.lease(Sample.id(number), fence: number), by: "127.0.0.1", requestID: nil)
      }
    }
    #expect(state.writeHealth.failures >= 11)
    guard case .full = state.writeHealth.current else {
      Issue.record("\(String(describing: state.writeHealth))")
      return
    }
    // A line for the first, and none for each of those that follow it closely.
    let lines = reports.withLock { $0 }
    #expect(lines.count == 1)
    guard case .failing(.full, failures: 1) = lines.first else {
      Issue.record("\(lines)")
      return
    }
    // A conflict is the caller's mistake: nothing failed to be written.
    let failures = state.writeHealth.failures
    #expect(throws: StateStoreError.self) { try state.deleteImage(name: "none", audit: Sample.audit("x", "y")) }
    #expect(state.writeHealth.failures == failures)
    try #require(disk.remount("size=8m"))
    for await _ in recovery { break }
    #expect(state.writeHealth.current == nil)
    try state.recordLease(Sample.lease(Sample.id(number), fence: number), by: "127.0.0.1", requestID: nil)
    #expect(!FileManager.default.fileExists(atPath: disk.path + "/vmpool.db.room"))
  }

  @Test func aStateCannotBeMadeOnAFullDisk() throws {
    let disk = try SmallFileSystem("size=16k")
    let error = #expect(throws: StateStoreError.self) { try StateDatabase.open(directory: disk.path) }
    guard case .full = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(!FileManager.default.fileExists(atPath: disk.path + "/vmpool.db"))
    try #require(disk.remount("size=1m"))
    #expect(try StateDatabase.open(directory: disk.path).recovered.epoch == 1)
  }

  @Test func aReadOnlyDirectoryIsSaid() throws {
    let disk = try SmallFileSystem("size=1m")
    do { _ = try StateDatabase.open(directory: disk.path) }
    try #require(disk.remount("size=1m", readOnly: true))
    let error = #expect(throws: StateStoreError.self) { try StateDatabase.open(directory: disk.path) }
    guard case .readOnly(let path, _) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(path.hasPrefix(disk.path))
    try #require(disk.remount("size=1m"))
    #expect(try StateDatabase.open(directory: disk.path).recovered.epoch == 2)
  }
}

extension SmallFileSystem {
  /// Takes every byte that is left.
  fileprivate func fill() {
    // Safe, here and below: the path and the bytes live for the calls.
    let file = unsafe open(path + "/hog", O_WRONLY | O_CREAT, 0o600)
    let bytes = [UInt8](repeating: 1, count: 4096)
    while unsafe write(file, bytes, bytes.count) == bytes.count {}
    close(file)
  }
}
