/// The owner of all requests. Called on the server's threads, several at once.
public protocol HTTPHandler: AnyObject, Sendable {
  /// Looks at a head before its body is read, and says what becomes of the body. What the handler makes of the head goes
  /// into `head.context`, and comes back with the request.
  func admit(_ head: inout HTTPRequestHead) -> HTTPAdmission

  /// Answers a complete request.
  ///
  /// It begins on the connection's thread, which serves others as well: up to its first wait it must not block for more
  /// than a few milliseconds. While it waits the connection costs no thread. It goes on inside the call that ends its wait
  /// (see `InlineExecutor`). The server cancels it when the client leaves and the request's context asks for that.
  func respond(to request: HTTPRequest) async -> HTTPResponse

  /// Called when the answer that `respond` returned is on its way, or its client has left. For what would have kept a
  /// processor from the answer; on the thread that `respond` returned on.
  func answered(_ request: HTTPRequest, with response: HTTPResponse)

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

  /// Does nothing.
  public func answered(_ request: HTTPRequest, with response: HTTPResponse) {}
}

/// What a handler keeps of a request between its head and its answer.
public protocol HTTPContext: AnyObject, Sendable {
  /// Whether the request ends when its client closes, half-closes or resets the connection while `respond` waits.
  ///
  /// Where it does, the server cancels `respond`, closes the connection and calls the access record `aborted`. The answer
  /// that `respond` still returns is not sent: its `whenOver` is called with false. Other requests are not watched, and a
  /// client that only half-closes gets its answer.
  var endsWithClient: Bool { get }

  /// Called where `endsWithClient` is true and `respond` has not returned at once. `cancel`, called from any thread, cancels
  /// it. What `respond` returns then is sent.
  func waits(cancel: @escaping @Sendable () -> Void)
}

extension HTTPContext {
  /// Does nothing.
  public func waits(cancel: @escaping @Sendable () -> Void) {}
}
