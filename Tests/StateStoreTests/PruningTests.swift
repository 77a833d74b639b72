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
      let end = LeaseEnd(reason: .released, atMS: atMS)
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
