import HTTPServer
import JSONCodec

/// Who may speak to the server at all: the checks that keep a browser from being its unwitting client.
struct Admission: Sendable {
  /// Names and addresses, in lower case, without brackets.
  private let hosts: Set<String>

  /// Answers to the names of this machine for itself, and to `hosts`.
  init(hosts: [String]) {
    self.hosts = Set((["localhost", "127.0.0.1", "::1"] + hosts).map { $0.lowercased() })
  }

  /// Refuses foreign host names (on TCP: no client reaches a unix socket by a name) and other sites' pages.
  func check(_ head: HTTPRequestHead) throws(APIProblem) {
    let host = head.headers["Host"]
    if let host, head.peer != "unix" { try checkHost(host) }
    try checkOrigins(head.headers, host: host)
  }

  private func checkHost(_ host: String) throws(APIProblem) {
    guard let name = Self.name(of: host), hosts.contains(name.lowercased()) else {
      throw APIProblem(
        .unknownHost,
        "This server does not answer to \(host.clipped()); use the address it listens on, or start it with --allow-host."
      )
    }
  }

  private func checkOrigins(_ headers: HTTPHeaders, host: String?) throws(APIProblem) {
    for site in headers.all("Sec-Fetch-Site") where site != "same-origin" && site != "none" {
      throw APIProblem(.crossSiteRequest, "A page of another site (\(site.clipped())) may not use this server.")
    }
    for origin in headers.all("Origin") {
      guard let host, Self.isSame(origin: origin, host: host) else {
        throw APIProblem(.crossSiteRequest, "The origin \(origin.clipped()) may not use this server.")
      }
    }
  }

  /// The host of `HOST[:PORT]`; nil where it is none.
  private static func name(of authority: String) -> String? {
    // By bytes: this is done for every request, and looking for characters means finding where graphemes end.
    if authority.utf8.first == UInt8(ascii: "[") {
      guard let end = authority.utf8.firstIndex(of: UInt8(ascii: "]")) else { return nil }
      let rest = authority[authority.index(after: end)...]
      guard rest.isEmpty || isPort(rest) else { return nil }
      return String(authority[authority.index(after: authority.startIndex)..<end])
    }
    guard let colon = authority.utf8.firstIndex(of: UInt8(ascii: ":")) else { return authority }
    return isPort(authority[colon...]) ? String(authority[..<colon]) : nil
  }

  private static func isPort(_ text: Substring) -> Bool {
    text.utf8.first == UInt8(ascii: ":") && text.utf8.count <= 6
      && text.utf8.dropFirst().allSatisfy { (0x30...0x39).contains($0) }
  }

  /// Whether an origin is the one that the request was sent to. The scheme is not known here (a proxy may speak TLS),
  /// and one port has but one.
  private static func isSame(origin: String, host: String) -> Bool {
    for (scheme, port) in [("http://", ":80"), ("https://", ":443")] where origin.hasPrefix(scheme) {
      let authority = origin.dropFirst(scheme.count).lowercased()
      let host = host.lowercased()
      return authority == host || authority + port == host || authority == host + port
    }
    return false
  }
}

/// In what form a request may send its body. A body that no operation reads may have any.
enum BodyForm {
  /// Refuses a body of another type, in a coding, or that is a part where the operation wants the whole.
  static func check(_ headers: HTTPHeaders, for route: Route) throws(APIProblem) {
    guard route.body != .none else { return }
    try ContentTypes.check(headers, for: route.body)
    // RFC 9110, 14.5: a part that is taken for the whole would replace it.
    if !route.takesParts, let range = headers["Content-Range"] {
      throw APIProblem(
        .badRequest,
        "The body is a part (Content-Range is \"\(range.clipped())\"), and this operation takes whole bodies alone; send all "
          + "of it without Content-Range. PUT /v1/blobs/{digest} takes parts.")
    }
    for list in headers.all("Content-Encoding") {
      let codings = list.split(separator: ",").map { ContentTypes.essence(String($0)) }
      if let coding = codings.first(where: { !["", "identity"].contains($0) }) {
        throw APIProblem(
          .unsupportedMediaType,
          "The body is encoded (Content-Encoding is \(coding.clipped())); send it as it is, without that field.")
      }
    }
  }
}

/// What a request may send.
enum ContentTypes {
  /// What the body's description calls its type; `curl -d` says the second by itself. None: any will do.
  static func accepted(by body: Route.Body) -> [String] {
    switch body {
    case .none, .upload: []
    case .json: ["application/json", "application/x-www-form-urlencoded"]
    case .mergePatch: ["application/merge-patch+json", "application/json", "application/x-www-form-urlencoded"]
    case .bytes: ["application/octet-stream", "application/x-www-form-urlencoded"]
    }
  }

  /// A content type without its parameters.
  static func essence(_ type: String) -> String {
    type.prefix { $0 != ";" }.filter { $0 != " " && $0 != "\t" }.lowercased()
  }

  static func check(_ headers: HTTPHeaders, for body: Route.Body) throws(APIProblem) {
    let accepted = accepted(by: body)
    if accepted.isEmpty { return }
    for type in headers.all("Content-Type") {
      guard accepted.contains(essence(type)) else {
        throw APIProblem(.unsupportedMediaType, "The body is \(type.clipped()); send \(accepted[0]).")
      }
    }
  }
}
