import APIModel

/// Why a request to the server did not do what was asked.
public enum APIError: Error, CustomStringConvertible {
  /// The server refused; it says why.
  case problem(Problem)
  /// No answer came from the endpoint: it is not there, the connection broke, or the time was up. `errno` is that of
  /// connect(2), where connecting failed.
  case unreachable(endpoint: String, reason: String, errno: Int32? = nil)
  /// The server's certificate is not trusted, or the client's own certificate cannot be used; libcurl's reason.
  case untrusted(endpoint: String, reason: String)
  /// What answers at the endpoint is another program than a vmpool server, as `answer` shows: a clause.
  case foreign(endpoint: String, answer: String)
  /// The answer is not what the API promises, or the request cannot be sent.
  case protocolViolation(String)

  /// The error in a sentence.
  public var description: String {
    switch self {
    case .problem(let problem):
      if let pointer = problem.pointer { "\(problem.detail) (at \(pointer))" } else { problem.detail }
    case .unreachable(let endpoint, let reason, _): "\(endpoint) cannot be reached: \(reason)"
    case .untrusted(let endpoint, let reason): "\(endpoint) is not spoken to: \(reason)"
    case .foreign(let endpoint, let answer): "\(endpoint) is no vmpool server: \(answer)"
    case .protocolViolation(let what): what
    }
  }
}
