/// The owner of all requests. Called on the server's threads, several at once.
public protocol HTTPHandler: AnyObject, Sendable {
  /// Looks at a head before its body is read. A response ends the matter: a client that waits with
  /// `Expect: 100-continue` gets it at once and the connection closes; otherwise it goes out when the body has been
  /// read and thrown away, so that it cannot be lost in a reset.
  func admit(_ head: HTTPRequestHead) -> HTTPResponse?

  /// Answers a complete request. Must not block for more than a few milliseconds.
  func respond(to request: HTTPRequest) -> HTTPReply

  /// Formats the server's own refusals, so that all errors look alike. Called on any of the server's threads.
  func response(to refusal: HTTPRefusal, requestID: String) -> HTTPResponse

  /// Called once a request, when its answer has been sent or its client has gone.
  func completed(_ record: HTTPAccessRecord)
}

/// The right to answer one suspended request, from any thread.
///
/// The first completion counts, later ones are ignored, and so is one that comes after the server stopped. A responder
/// that is dropped without completion answers 500.
public final class HTTPResponder: Sendable {
  private let suspension: Suspension

  init(_ suspension: Suspension) { self.suspension = suspension }

  /// Answers. Never blocks on the client.
  public func complete(_ response: HTTPResponse) { suspension.complete(response) }

  deinit { suspension.complete(.internalError("the server dropped the request without an answer")) }
}
