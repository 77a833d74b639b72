/// Why the server itself, rather than its handler, turns a request down.
///
/// libmicrohttpd answers a few more cases alone, with an HTML page:
/// - a head over the connection's memory limit (431, 414),
/// - a malformed chunk or a field without a colon (400),
/// - a malformed request line (400),
/// - an HTTP version other than 1.x (505).
///
/// All but the last two and 414 have an access record.
public enum HTTPRefusal: Sendable, Equatable {
  /// 400: the head breaks an ingress rule; says which.
  case badRequest(String)
  /// 401: the client has shown a certificate that does not hold; says why. Its connection closes.
  case certificateRefused(String)
  /// 413: the body is longer than the limit, in bytes.
  case bodyTooLarge(limit: Int)
  /// 503: there are as many connections as may be, and this request is not essential.
  case tooManyConnections(limit: Int)
  /// 408: the request was not complete by its deadline.
  case requestTimeout
  /// 503: the server stopped while the request was waiting for its answer.
  case shuttingDown
  /// 500: the handler made an answer that cannot be sent; says why.
  case internalError(String)

  /// The HTTP status.
  public var status: Int {
    switch self {
    case .badRequest: 400
    case .certificateRefused: 401
    case .bodyTooLarge: 413
    case .requestTimeout: 408
    case .shuttingDown, .tooManyConnections: 503
    case .internalError: 500
    }
  }

  /// One English sentence fragment for the client.
  public var detail: String {
    switch self {
    case .badRequest(let detail), .internalError(let detail): detail
    case .certificateRefused(let reason): "the client's certificate is not accepted: \(reason)"
    case .bodyTooLarge(let limit): "the body is longer than \(limit) bytes"
    case .tooManyConnections(let limit):
      "the server has \(limit) connections, as many as it may; close some, or try again later"
    case .requestTimeout: "the request was not complete in time"
    case .shuttingDown: "the server is stopping"
    }
  }
}
