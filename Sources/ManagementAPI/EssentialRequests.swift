public import HTTPServer

extension APIHandler {
  /// Probes, metrics and deletions are served though there are too many connections: a supervisor would
  /// otherwise end the server with all its VMs, and nothing could be given back.
  public func isEssential(_ head: HTTPRequestHead) -> Bool {
    switch head.method {
    case "DELETE": true
    case "GET", "HEAD": ["livez", "readyz", "metrics"].contains(head.pathSegments.first)
    default: false
    }
  }
}
