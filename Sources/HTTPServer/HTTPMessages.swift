public import LinuxSupport

/// What the connection itself proves of its client.
public enum HTTPPeerProof: Sendable, Equatable {
  /// Nothing.
  case nothing
  /// The process at the other end of a unix socket, as the kernel names it (unix(7), SO_PEERCRED and SO_PEERGROUPS): who it
  /// was when it connected.
  case process(uid: UInt32, gid: UInt32, groups: [UInt32])
  /// The subject of a client certificate, which the server has verified: an RFC 4514 name.
  case certificate(subject: String)
}

/// A request without its body, checked: what reaches the handler has passed every ingress rule.
public struct HTTPRequestHead: Sendable {
  /// As sent; any token.
  public var method: String
  /// The path as sent, escapes and all, without the query.
  public var rawPath: String
  /// The path's segments, each decoded; none of them is `.` or `..` or holds a slash or a control character.
  /// `/` has none, `/a/` has two, the second empty; `OPTIONS *` has none.
  public var pathSegments: [String]
  /// The query's members, decoded as HTML forms do (`+` is a space), in order. A member without `=` has value "".
  public var query: [(name: String, value: String)]
  /// The header fields.
  public var headers: HTTPHeaders
  /// The client's `X-Request-Id` if it was sane, else one made here; goes out with the answer.
  public var requestID: String
  /// The client's address without its port, or "unix".
  public var peer: String
  /// What the connection proves of the client.
  public var proof = HTTPPeerProof.nothing
  /// Bytes announced by `Content-Length`; nil without one (no body, or a chunked one).
  public var contentLength: Int?
  /// What the handler made of the head when it admitted the request.
  public var context: (any HTTPContext)?

  /// Makes a head by hand, as tests of handlers do.
  public init(
    method: String, rawPath: String, pathSegments: [String], query: [(name: String, value: String)] = [],
    headers: HTTPHeaders = HTTPHeaders(), requestID: String = "", peer: String = "unix", contentLength: Int? = nil
  ) {
    self.method = method
    self.rawPath = rawPath
    self.pathSegments = pathSegments
    self.query = query
    self.headers = headers
    self.requestID = requestID
    self.peer = peer
    self.contentLength = contentLength
  }
}

/// What becomes of a body that is about to come.
public enum HTTPAdmission: Sendable {
  /// It is kept, and comes with the request.
  case collect
  /// It goes to the sink piece by piece, as it comes. It may be of any length; see
  /// `HTTPServerConfiguration.requestDeadline`.
  case sink(any HTTPBodySink)
  /// It is thrown away. A client that waits with `Expect: 100-continue` gets the response at once, and the connection
  /// closes. Other clients get it when the server has read the body, or much of it, so that a reset cannot lose it.
  case answer(HTTPResponse)
}

/// Takes the body of one request. The server releases it when the request is over, or its client has gone.
public protocol HTTPBodySink: AnyObject, Sendable {
  /// Takes the next bytes, at most 128 KiB of them, on a thread that may wait for a disk; one call at a time. An answer ends
  /// the matter: the server sends it at once, and throws away what still comes.
  func take(_ piece: RawSpan) -> HTTPResponse?
}

/// A complete request.
public struct HTTPRequest: Sendable {
  /// Everything but the body.
  public var head: HTTPRequestHead
  /// At most the configured limit.
  public var body: [UInt8]
  /// What has taken the body instead.
  public var sink: (any HTTPBodySink)?

  /// Makes a request by hand, as tests of handlers do.
  public init(head: HTTPRequestHead, body: [UInt8] = [], sink: (any HTTPBodySink)? = nil) {
    self.head = head
    self.body = body
    self.sink = sink
  }
}

/// An answer. The server adds `Date`, `Content-Length`, `X-Request-Id` and, where it closes, `Connection`.
public struct HTTPResponse: Sendable {
  /// 200 to 599; anything else is answered with 500.
  public var status: Int
  /// Sent in this order. A name or value that cannot go on the wire, or a `Content-Length`, is answered with 500.
  public var headers: [(name: String, value: String)]
  /// Left out for HEAD, 204 and 304.
  public var body: [UInt8]
  /// Sent instead of the body, read as the client takes it, on threads that requests do not wait for.
  public var file: ReadableFile?
  /// Where it is set, the answer comes piece by piece. The head and `body`, if any, go out at once, chunked; the stream's bytes
  /// follow. Called on the connection's thread, and must not block. Not called for HEAD, 204 and 304, nor when the head cannot
  /// be sent. The connection costs no thread, and the request deadline does not apply.
  public var stream: (@Sendable (HTTPStream) -> Void)?
  /// The bytes of the file that are sent; nil for all of them. See `HTTPResponse.file(_:etag:for:)`.
  public var fileRange: Range<UInt64>?
  /// Asked before each piece of the file, on any thread: false cuts the answer off. It must not block.
  public var mayGoOn: (@Sendable () -> Bool)?
  /// Never sent: called once when it is over. True if the kernel has all of it; false if it could not be sent, or its client
  /// was seen to be gone before. On one of the server's threads, before the client's next request; must not block.
  public var whenOver: (@Sendable (_ isDelivered: Bool) -> Void)?
  /// Never sent: stands in the access record, so that the handler knows there which answer it was.
  public var label: String?

  /// Makes an answer.
  public init(status: Int, headers: [(name: String, value: String)] = [], body: [UInt8] = []) {
    self.status = status
    self.headers = headers
    self.body = body
  }
}

/// What became of a request: one line of an access log.
public struct HTTPAccessRecord: Sendable {
  /// Empty when the request was refused before its head was understood.
  public var method: String
  /// The path as sent, without query; what is not visible ASCII is escaped.
  public var rawPath: String
  /// 0 when there was no answer.
  public var status: Int
  /// As in the answer.
  public var requestID: String
  /// The client's address, or "unix".
  public var peer: String
  /// Nanoseconds from the request line to the last byte of the answer.
  public var durationNS: UInt64
  /// Bytes of body sent; 0 when `aborted`, unless it was a stream.
  public var bytesSent: Int
  /// True when the client went away, or was cut off, before the answer was complete. So ends every stream that neither the
  /// handler nor the server's stop has finished.
  public var aborted: Bool
  /// The `label` of the answer; nil where the server answered by itself.
  public var label: String?
}
