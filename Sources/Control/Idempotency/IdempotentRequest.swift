import Digests
import StateStore

/// Why a request with a key is not served.
public enum IdempotencyRefusal: Error, Sendable, CustomStringConvertible {
  /// The key is not 1 to 255 visible ASCII characters.
  case badKey
  /// The first request with this key has not been answered yet.
  case inProgress
  /// The server ended while it served the first request with this key.
  case interrupted
  /// The first request with this key had another body.
  case otherBody
  /// The key could not be recorded.
  case state(StateStoreError)

  /// What happened, and what to do next.
  public var description: String {
    switch self {
    case .badKey: "Idempotency-Key is not 1 to 255 visible ASCII characters; a UUID will do"
    case .inProgress: "the first request with this Idempotency-Key is not answered yet; repeat it later"
    case .interrupted:
      "the server ended while it served the first request with this Idempotency-Key, and what that made is gone; use "
        + "another key"
    case .otherBody:
      "this Idempotency-Key came with another body before; give every request a key of its own"
    case .state(let error): "\(error)"
    }
  }
}

/// A request that came with an idempotency key, for the first time: its answer is kept, so that a repetition gets the
/// same. A request that was refused, or whose client left, has changed nothing, and may be repeated in earnest.
public struct IdempotentRequest: Sendable {
  private let state: StateDatabase
  private let scope: String
  private let key: String

  /// What is to be done with a request that has a key.
  public enum Beginning: Sendable {
    /// Serve it, and see to its answer.
    case first(IdempotentRequest)
    /// It was served before.
    case replay(StoredResponse)
  }

  /// Begins the request with that key and body. `scope` is what the key belongs to: method and path. An answer that no
  /// longer holds is forgotten, and the request begins anew. Of several that find so, one begins.
  ///
  /// `stillHolds` is called with no lock held, on the caller's thread.
  public static func begin(
    key: String, scope: String, body: [UInt8], in state: StateDatabase, stillHolds: (StoredResponse) -> Bool
  ) throws(IdempotencyRefusal) -> Beginning {
    guard (1...255).contains(key.utf8.count), key.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
      throw .badKey
    }
    let fingerprint = SHA256Digest(of: body).bytes
    var outcome: IdempotencyOutcome
    do throws(StateStoreError) {
      var over: StoredResponse?
      repeat {
        outcome = try state.beginIdempotent(
          scope: scope, key: key, fingerprint: fingerprint, forgetting: over, nowMS: StateDatabase.wallClockMS())
        over = if case .replay(let answer) = outcome, !stillHolds(answer) { answer } else { nil }
      } while over != nil
    } catch {
      throw .state(error)
    }
    switch outcome {
    case .new: return .first(IdempotentRequest(state: state, scope: scope, key: key))
    case .inProgress: throw .inProgress
    case .interrupted: throw .interrupted
    case .mismatch: throw .otherBody
    case .replay(let stored): return .replay(stored)
    }
  }

  /// Keeps an answer that is about to be sent.
  public func keep(_ answer: StoredResponse) {
    // Where that fails, what was asked for is done, and its client learns so; only a repetition will hear that it is still
    // in progress.
    try? state.finishIdempotent(scope: scope, key: key, answer)
  }

  /// Nothing came of it: the key may come again.
  public func forget() {
    // Where that fails, a repetition hears that the first is still in progress, which is safe.
    try? state.abandonIdempotent(scope: scope, key: key)
  }
}
