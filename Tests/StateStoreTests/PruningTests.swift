import TestSupport
import Testing

@testable import StateStore

/// What is kept, and what is forgotten.
struct PruningTests {
  private func state(_ directory: String? = nil, kept: Int) throws -> StateDatabase {
    var limits = StateLimits()
    limits.endedLeases = kept
    limits.idempotencyKeys = kept
    limits.auditEntries = kept
    return try StateDatabase.open(directory: directory, limits: limits)
  }

  private func grant(_ state: StateDatabase, _ numbers: ClosedRange<Int>, endedAtMS: (Int) -> Int?) throws {
    for number in numbers {
      let id = Sample.id(number)
      try state.recordLease(Sample.lease(id, fence: number), by: "127.0.0.1", requestID: nil)
      guard let atMS = endedAtMS(number) else { continue }
      let end = StoredLeaseEnd(reason: .released, atMS: atMS)
      try state.endLeases([(id, end, Sample.audit("lease.end", id))])
    }
  }

  @Test func endedLeasesAreForgottenAfterTheirTimeAndOpenOnesNever() throws {
    let state = try state(kept: 10_000)
    try grant(state, 1...600) { $0 <= 550 ? $0 : nil }
    try state.prune(nowMS: 86_400_000 + 540)
    for number in 1...600 {
      #expect(try (state.lease(id: Sample.id(number)) == nil) == (number <= 540), "\(number)")
    }
  }

  @Test func theLatestEndedLeasesAreKept() throws {
    let state = try state(kept: 10)
    try grant(state, 1...600) { $0 == 600 ? nil : 1000 - $0 }
    try state.prune(nowMS: 1000)
    for number in 1...600 {
      #expect(try (state.lease(id: Sample.id(number)) != nil) == (number <= 10 || number == 600), "\(number)")
    }
  }

  @Test func theHighestFenceOutlivesItsLease() throws {
    let scratch = try Scratch()
    do {
      let state = try state(scratch.path, kept: 0)
      defer { state.close() }
      try grant(state, 1...300) { 1000 - $0 }
      try state.prune(nowMS: 1000)
      #expect(try state.lease(id: Sample.id(300)) == nil)
      #expect(try state.lease(id: Sample.id(1)) == nil)
    }
    #expect(try state(scratch.path, kept: 0).recovered.highestFence == 300)
  }

  /// A grant's audit entry is in the lease's row, and must not go with it.
  @Test func theAuditLogOutlivesItsLeases() throws {
    let scratch = try Scratch()
    var limits = StateLimits()
    limits.endedLeases = 0
    do {
      let state = try StateDatabase.open(directory: scratch.path, limits: limits)
      defer { state.close() }
      try grant(state, 1...300) { $0 % 3 == 0 ? nil : $0 }
      let before = try state.audit(after: 0, limit: 1000)
      #expect(before.map(\.sequence) == Array(1...500))
      try state.prune(nowMS: 1000)
      #expect(try state.lease(id: Sample.id(1)) == nil && state.lease(id: Sample.id(3)) != nil)
      #expect(try state.audit(after: 0, limit: 1000) == before)
    }
    let state = try StateDatabase.open(directory: scratch.path, limits: limits)
    #expect(try state.audit(after: 500, limit: 1000).map(\.sequence) == Array(501...600))
  }

  @Test func theLatestAuditEntriesAreKeptAndNumbersGoOn() throws {
    let scratch = try Scratch()
    do {
      let state = try state(scratch.path, kept: 0)
      defer { state.close() }
      for number in 1...600 { try state.append(Sample.audit("test", "\(number)")) }
      try state.prune(nowMS: 0)
      // The last one stays whatever the limit is: it carries the number.
      #expect(try state.audit(after: 0, limit: 1000).map(\.sequence) == [600])
    }
    let state = try state(scratch.path, kept: 5)
    for number in 601...610 { try state.append(Sample.audit("test", "\(number)")) }
    try state.prune(nowMS: 0)
    #expect(try state.audit(after: 0, limit: 1000).map(\.sequence) == Array(606...610))
  }

  @Test func keysAreForgottenByAgeAndNumberButNotWhileInProgress() throws {
    let state = try state(kept: 10)
    for number in 1...600 {
      #expect(try state.beginIdempotent(scope: "s", key: "\(number)", fingerprint: [1], nowMS: number) == .new)
      guard number > 5 else { continue }
      try state.finishIdempotent(scope: "s", key: "\(number)", StoredResponse(status: 200, headers: [], body: []))
    }
    try state.prune(nowMS: 600)
    let kept = try (1...600).filter {
      try state.beginIdempotent(scope: "s", key: "\($0)", fingerprint: [1], nowMS: 600) != .new
    }
    #expect(kept == Array(1...5) + Array(591...600))
  }
}

/// Every table holds at most so many bytes, after every change.
struct BudgetTests {
  private static func limits() -> StateLimits {
    var limits = StateLimits()
    limits.endedLeaseBytes = 20_000
    limits.answerBytes = 100_000
    limits.auditBytes = 20_000
    return limits
  }

  private func rows(_ scratch: Scratch, _ table: String) throws -> Int {
    var connection = try SQLiteConnection(scratch.database, .existing)
    return try connection.number("SELECT count(*) FROM \(table)")
  }

  @Test func answersAreForgottenByTheirBytes() throws {
    let scratch = try Scratch()
    let state = try StateDatabase.open(directory: scratch.path, limits: Self.limits())
    let body = [UInt8](repeating: 7, count: 10_000)
    for number in 0..<100 {
      #expect(try state.beginIdempotent(scope: "s", key: "\(number)", fingerprint: [1], nowMS: 1000) == .new)
      try state.finishIdempotent(scope: "s", key: "\(number)", StoredResponse(status: 200, headers: [], body: body))
      #expect(try rows(scratch, "idempotency") <= 10)
    }
    // The latest is kept.
    let last = try state.beginIdempotent(scope: "s", key: "99", fingerprint: [1], nowMS: 1000)
    let isReplayed = last == .replay(StoredResponse(status: 200, headers: [], body: body))
    #expect(isReplayed)
  }

  /// A key whose request is being served is in nobody's way: it stays, however much comes after it.
  @Test func aKeyInProgressIsNeverForgotten() throws {
    let state = try StateDatabase.open(directory: nil, limits: Self.limits())
    #expect(try state.beginIdempotent(scope: "s", key: "first", fingerprint: [1], nowMS: 1000) == .new)
    for number in 0..<50 {
      _ = try state.beginIdempotent(scope: "s", key: "\(number)", fingerprint: [1], nowMS: 1000)
      let response = StoredResponse(status: 200, headers: [], body: [UInt8](repeating: 7, count: 60_000))
      try state.finishIdempotent(scope: "s", key: "\(number)", response)
    }
    #expect(try state.beginIdempotent(scope: "s", key: "first", fingerprint: [1], nowMS: 1000) == .inProgress)
  }

  @Test func auditEntriesAreForgottenByTheirBytes() throws {
    let scratch = try Scratch()
    let state = try StateDatabase.open(directory: scratch.path, limits: Self.limits())
    for number in 0..<200 {
      let entry = AuditEntry(
        who: "127.0.0.1", action: "image.store", subject: "\(number)", atMS: 1,
        detail: String(repeating: "x", count: 1000))
      try state.append(entry)
      #expect(try rows(scratch, "audit_entry") < 20)
    }
    #expect(try state.audit(after: 0, limit: 1000).last?.sequence == 200)
  }

  @Test func endedLeasesAreForgottenByTheBytesOfTheirLabels() throws {
    let scratch = try Scratch()
    let state = try StateDatabase.open(directory: scratch.path, limits: Self.limits())
    for number in 1...200 {
      let id = Sample.id(number)
      var lease = Sample.lease(id, fence: number)
      lease.labels = "{\"l\":\"" + String(repeating: "ü", count: 1000) + "\"}"
      try state.recordLease(lease, by: "127.0.0.1", requestID: nil)
      try state.endLeases([(id, StoredLeaseEnd(reason: .released, atMS: number), Sample.audit("lease.end", id))])
      #expect(try rows(scratch, "lease") < 10)
    }
    #expect(try state.lease(id: Sample.id(200)) != nil)
    state.close()
    #expect(try StateDatabase.open(directory: scratch.path).recovered.highestFence == 200)
  }

  /// What is counted as rows come and go is what a count of all rows finds.
  @Test func bytesAreCountedRight() throws {
    var random = SeededGenerator(for: #function)
    let state = try StateDatabase.open(directory: nil)
    for number in 1...300 {
      let id = Sample.id(number)
      let text = String(repeating: "é", count: Int.random(in: 0...50, using: &random))
      var lease = Sample.lease(id, fence: number)
      lease.labels = text
      try state.recordLease(lease, by: text, requestID: number % 2 == 0 ? nil : "r-\(number)")
      var end = StoredLeaseEnd(reason: .released, atMS: number)
      if Bool.random(using: &random) { end.detail = text }
      if number % 5 > 0 { try state.endLeases([(id, end, Sample.audit("lease.end", text, requestID: text))]) }
      _ = try state.beginIdempotent(scope: text, key: id, fingerprint: [1, 2], nowMS: number)
      let response = StoredResponse(status: 200, headers: [.init(name: "é", value: text)], body: Array(text.utf8))
      switch number % 4 {
      case 0: try state.abandonIdempotent(scope: text, key: id)
      case 1: try state.finishIdempotent(scope: text, key: id, response)
      default: break
      }
      if number % 50 == 0 { try state.prune(nowMS: 86_400_000 + number / 2) }
    }
    let counted = try state.read { connection in connection.contents }
    let found = try state.read { (connection: inout SQLiteConnection) throws(StateStoreError) in
      try connection.countContents()
      return connection.contents
    }
    #expect(counted == found)
    #expect(found.answerBytes > 0 && found.endedLeaseBytes > 0 && found.auditBytes > 0)
  }
}
