import APIModel

/// Why a request to the server did not do what was asked.
public enum APIError: Error, CustomStringConvertible {
  /// The server refused; it says why.
  case problem(Problem)
  /// No answer came from the endpoint: it is not there, the connection broke, or the time was up.
  case unreachable(endpoint: String, reason: String)
  /// What came is not what the API promises, or cannot be sent; most likely this is no vmpool server.
  case protocolViolation(String)

  /// The error in a sentence.
  public var description: String {
    switch self {
    case .problem(let problem):
      if let pointer = problem.pointer { "\(problem.detail) (at \(pointer))" } else { problem.detail }
    case .unreachable(let endpoint, let reason): "\(endpoint) cannot be reached: \(reason)"
    case .protocolViolation(let what): what
    }
  }
}
