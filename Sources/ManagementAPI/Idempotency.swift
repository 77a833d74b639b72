import Digests
import HTTPServer
import StateStore

/// A request that came with an `Idempotency-Key`, for the first time: its answer is kept, so that a repetition gets the
/// same. A request that was refused, or whose client left, has changed nothing, and may be repeated in earnest.
struct IdempotentRequest: Sendable {
  private let state: StateDatabase
  private let scope: String
  private let key: String

  /// What is to be done with a request that has a key.
  enum Beginning: Sendable {
    /// Serve it, and see to its answer.
    case first(IdempotentRequest)
    /// It was served before.
    case replay(HTTPResponse)
  }

  static func begin(_ context: Context, key: String, in state: StateDatabase) throws(APIProblem) -> Beginning {
    guard (1...255).contains(key.utf8.count), key.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
      throw APIProblem(.badRequest, "Idempotency-Key is not 1 to 255 visible ASCII characters; a UUID will do.")
    }
    let head = context.head
    let request = IdempotentRequest(state: state, scope: "\(head.method) \(head.rawPath)", key: key)
    let outcome: IdempotencyOutcome
    do throws(StateStoreError) {
      outcome = try state.beginIdempotent(
        scope: request.scope, key: key, fingerprint: SHA256Digest(of: context.body).bytes,
        nowMS: StateDatabase.wallClockMS())
    } catch {
      throw APIProblem(.storageFailed, "\(error)".asSentence)
    }
    switch outcome {
    case .new: return .first(request)
    case .inProgress:
      throw APIProblem(
        .idempotencyKeyInUse, "The first request with this Idempotency-Key is not answered yet; repeat it later.")
    case .interrupted:
      throw APIProblem(
        .idempotencyKeyInUse,
        "The server ended while it served the first request with this Idempotency-Key, and what that made is gone; "
          + "use another key.")
    case .mismatch:
      throw APIProblem(
        .idempotencyKeyReused,
        "This Idempotency-Key came with another body before; give every request a key of its own.")
    case .replay(let stored):
      let fields = stored.headers.map { (name: $0.name, value: $0.value) } + [("Idempotent-Replayed", "true")]
      return .replay(HTTPResponse(status: stored.status, headers: fields, body: stored.body))
    }
  }

  /// Keeps an answer that is about to be sent. A client that does not get it can ask again, so nothing is taken back when
  /// it cannot be delivered.
  func keeping(_ answer: HTTPResponse) -> HTTPResponse {
    var answer = answer
    if let whenOver = answer.whenOver { answer.whenOver = { _ in whenOver(true) } }
    let fields = answer.headers.map { StoredResponse.Field(name: $0.name, value: $0.value) }
    do throws(StateStoreError) {
      try state.finishIdempotent(
        scope: scope, key: key, StoredResponse(status: answer.status, headers: fields, body: answer.body))
    } catch {
      // What was asked for is done, and its client learns so; only a repetition will hear that it is still in progress.
    }
    return answer
  }

  /// Nothing came of it: the key may come again.
  func forget() {
    // Where that fails, a repetition will be told that the first is still in progress, which is safe.
    try? state.abandonIdempotent(scope: scope, key: key)
  }
}
