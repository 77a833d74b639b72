import Testing

@testable import StateStore

/// What an idempotency key stands for, from its first use to its end.
struct IdempotencyTests {
  let scope = "POST /v1/vms"
  let print: [UInt8] = [1, 2, 3]
  let answer = StoredResponse(
    status: 201, headers: [.init(name: "Location", value: "/v1/vms/vm-1"), .init(name: "Empty", value: "")],
    body: [0, 1, 255])

  private func begin(_ state: StateDatabase, _ key: String, nowMS: Int = 0) throws -> IdempotencyOutcome {
    try state.beginIdempotent(scope: scope, key: key, fingerprint: print, nowMS: nowMS)
  }

  @Test func aKeyIsNewThenInProgressThenAnswered() throws {
    let state = try StateDatabase.open(directory: nil)
    #expect(try begin(state, "k") == .new)
    #expect(try begin(state, "k") == .inProgress)
    #expect(try state.beginIdempotent(scope: scope, key: "k", fingerprint: [9], nowMS: 0) == .mismatch)
    #expect(try state.beginIdempotent(scope: "POST /v1/x", key: "k", fingerprint: [9], nowMS: 0) == .new)
    try state.finishIdempotent(scope: scope, key: "k", answer)
    #expect(try begin(state, "k") == .replay(answer))
    #expect(try state.beginIdempotent(scope: scope, key: "k", fingerprint: [9], nowMS: 0) == .mismatch)
  }

  @Test func anAnswerWithoutFieldsAndBodyComesBack() throws {
    let state = try StateDatabase.open(directory: nil)
    let bare = StoredResponse(status: 204, headers: [], body: [])
    #expect(try begin(state, "k") == .new)
    try state.finishIdempotent(scope: scope, key: "k", bare)
    #expect(try begin(state, "k") == .replay(bare))
  }

  @Test func anAbandonedKeyMayComeAgain() throws {
    let state = try StateDatabase.open(directory: nil)
    #expect(try begin(state, "k") == .new)
    try state.abandonIdempotent(scope: scope, key: "k")
    #expect(try begin(state, "k") == .new)
  }

  /// Of two that find the answer out of date, the second must not undo what the first has begun, nor its answer.
  @Test func anAnswerThatIsOverIsForgottenOnce() throws {
    let state = try StateDatabase.open(directory: nil)
    func beginAnew() throws -> IdempotencyOutcome {
      try state.beginIdempotent(scope: scope, key: "k", fingerprint: print, forgetting: answer, nowMS: 0)
    }
    #expect(try begin(state, "k") == .new)
    #expect(try beginAnew() == .inProgress)
    try state.finishIdempotent(scope: scope, key: "k", answer)
    #expect(try begin(state, "k") == .replay(answer))
    #expect(try beginAnew() == .new)
    #expect(try beginAnew() == .inProgress)
    let later = StoredResponse(
      status: 201, headers: [.init(name: "Location", value: "/v1/vms/vm-2")], body: answer.body)
    try state.finishIdempotent(scope: scope, key: "k", later)
    #expect(try beginAnew() == .replay(later))
  }

  @Test func onlyWhatIsInProgressCanEnd() throws {
    let state = try StateDatabase.open(directory: nil)
    #expect(throws: StateStoreError.self) { try state.finishIdempotent(scope: scope, key: "k", answer) }
    #expect(throws: StateStoreError.self) { try state.abandonIdempotent(scope: scope, key: "k") }
    #expect(try begin(state, "k") == .new)
    let bad = StoredResponse(status: 200, headers: [.init(name: "a", value: "b\0c")], body: [])
    #expect(throws: StateStoreError.self) { try state.finishIdempotent(scope: scope, key: "k", bad) }
    try state.finishIdempotent(scope: scope, key: "k", answer)
    #expect(throws: StateStoreError.self) { try state.finishIdempotent(scope: scope, key: "k", bad) }
    #expect(throws: StateStoreError.self) { try state.abandonIdempotent(scope: scope, key: "k") }
    #expect(try begin(state, "k") == .replay(answer))
  }

  @Test func aKeyIsForgottenAfterItsTime() throws {
    let state = try StateDatabase.open(directory: nil)
    #expect(try begin(state, "k") == .new)
    try state.finishIdempotent(scope: scope, key: "k", answer)
    #expect(try begin(state, "k", nowMS: 86_399_999) == .replay(answer))
    #expect(try begin(state, "k", nowMS: 86_400_000) == .new)
  }

  @Test func whatWasInProgressIsInterruptedByTheEndOfTheProcess() throws {
    let scratch = try Scratch()
    do {
      let state = try StateDatabase.open(directory: scratch.path)
      defer { state.close() }
      #expect(try begin(state, "open") == .new)
      #expect(try begin(state, "done") == .new)
      try state.finishIdempotent(scope: scope, key: "done", answer)
    }
    let state = try StateDatabase.open(directory: scratch.path)
    #expect(try begin(state, "open") == .interrupted)
    #expect(try begin(state, "open") == .interrupted)
    #expect(try state.beginIdempotent(scope: scope, key: "open", fingerprint: [9], nowMS: 0) == .mismatch)
    #expect(try begin(state, "done") == .replay(answer))
    #expect(throws: StateStoreError.self) { try state.finishIdempotent(scope: scope, key: "open", answer) }
  }
}
