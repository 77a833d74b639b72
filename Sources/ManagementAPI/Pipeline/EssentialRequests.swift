public import HTTPServer

extension APIHandler {
  /// Probes, metrics and requests that free something are served though there are too many connections. A supervisor would
  /// otherwise end the server with all its VMs, and no client could give anything back.
  public func isEssential(_ head: HTTPRequestHead) -> Bool {
    switch head.method {
    case "DELETE": true
    case "GET", "HEAD": ["livez", "readyz", "metrics"].contains(head.pathSegments.first)
    default: false
    }
  }
}
