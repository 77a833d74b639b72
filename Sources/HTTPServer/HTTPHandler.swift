/// The owner of all requests. Called on the server's threads, several at once.
public protocol HTTPHandler: AnyObject, Sendable {
  /// Looks at a head before its body is read, and says what becomes of the body.
  func admit(_ head: HTTPRequestHead) -> HTTPAdmission

  /// Answers a complete request. Must not block for more than a few milliseconds.
  func respond(to request: HTTPRequest) -> HTTPReply

  /// Whether a request is served on the connections that are kept in reserve. Asked once there are more connections than
  /// `HTTPLoad.connectionLimit`; probes, metrics and requests that free something are essential.
  func isEssential(_ head: HTTPRequestHead) -> Bool

  /// Formats the server's own refusals, so that all errors look alike. Called on any of the server's threads.
  func response(to refusal: HTTPRefusal, requestID: String) -> HTTPResponse

  /// Called once a request, when its answer has been sent or its client has gone.
  func completed(_ record: HTTPAccessRecord)
}

extension HTTPHandler {
  /// No request is essential.
  public func isEssential(_ head: HTTPRequestHead) -> Bool { false }
}

/// The right to answer one suspended request, from any thread.
///
/// The first completion counts, later ones are ignored, and so is one that comes after the server stopped. A responder
/// that is dropped without completion answers 500.
public final class HTTPResponder: Sendable {
  private let suspension: Suspension

  init(_ suspension: Suspension) { self.suspension = suspension }

  /// Answers. Never blocks on the client. False when this was not the first completion, the client has been seen to
  /// leave, or the server has stopped: the answer goes nowhere. True does not promise that the client gets it.
  @discardableResult
  public func complete(_ response: HTTPResponse) -> Bool { suspension.complete(response) }

  /// Has `body` called, on any thread, when the client closes, half-closes or resets its connection before the answer
  /// was completed; at once if it did already. Called once at most, never after a completion, and not when the server
  /// stops. The request is settled then: the connection is closed, its access record says `aborted`, completions
  /// return false.
  ///
  /// A request has one such closure, the last one given. It is kept until the request is settled; were it to hold the
  /// responder, dropping the responder would no longer answer. It must not block: one thread serves all clients that
  /// leave. Requests without such a closure are not watched, and a client that only half-closes gets its answer.
  public func whenClientLeaves(_ body: @escaping @Sendable () -> Void) { suspension.whenClientLeaves(body) }

  deinit { suspension.complete(.internalError("the server dropped the request without an answer")) }
}
