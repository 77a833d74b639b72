import CCurl

/// Where a server listens.
public enum Endpoint: Sendable, Equatable, CustomStringConvertible {
  /// A host name or address (IPv6 without its brackets) and a port.
  case tcp(host: String, port: UInt16)
  /// The same, spoken to over TLS.
  case tls(host: String, port: UInt16)
  /// The path of a unix socket.
  case unix(path: String)

  /// Parses `http://host:port`, `https://host:port`, `host:port` (without TLS) or `unix:/path`; an IPv6 address stands in
  /// brackets. A port is needed unless a scheme is said: `http://` means 80, `https://` 443.
  public init(_ text: String) throws(EndpointError) {
    self = text.hasPrefix("unix:") ? .unix(path: try Self.socketPath(text)) : try Self.tcp(text)
  }

  /// The endpoint as ``init(_:)`` reads it.
  public var description: String {
    switch self {
    case .tcp(let host, let port): "http://\(Self.bracketed(host)):\(port)"
    case .tls(let host, let port): "https://\(Self.bracketed(host)):\(port)"
    case .unix(let path): "unix:\(path)"
    }
  }

  /// What stands before the path in a URL; over a unix socket the host is `localhost`.
  var baseURL: String {
    switch self {
    case .tcp, .tls: description
    case .unix: "http://localhost"
    }
  }

  private static func bracketed(_ host: String) -> String { host.contains(":") ? "[\(host)]" : host }

  private static func socketPath(_ text: String) throws(EndpointError) -> String {
    let path = String(text.dropFirst("unix:".count))
    // sockaddr_un holds 107 bytes and a terminator.
    guard path.hasPrefix("/"), !path.utf8.contains(0), path.utf8.count <= 107 else { throw .socketPath(text) }
    return path
  }

  /// What libcurl's own parser makes of the text, so that both read the same host.
  private static func tcp(_ text: String) throws(EndpointError) -> Self {
    let saysScheme = text.contains("://")
    // Safe: this function alone has the handle, and frees it; libcurl copies the text.
    guard !text.utf8.contains(0), let url = unsafe curl_url() else { throw .host(text) }
    defer { unsafe curl_url_cleanup(url) }
    let flags = UInt32(CURLU_DISALLOW_USER | CURLU_PATH_AS_IS)
    switch unsafe curl_url_set(url, CURLUPART_URL, saysScheme ? text : "http://" + text, flags) {
    case CURLUE_OK: break
    case CURLUE_BAD_SCHEME, CURLUE_UNSUPPORTED_SCHEME: throw .scheme(text)
    case CURLUE_BAD_PORT_NUMBER: throw .port(text)
    case CURLUE_USER_NOT_ALLOWED: throw .user(text)
    default: throw .host(text)
    }
    // Safe: the handle lives until the end of this function.
    func part(_ part: CURLUPart, _ flags: Int32 = 0) -> String? { unsafe Self.part(part, of: url, flags) }
    let scheme = part(CURLUPART_SCHEME)
    guard scheme == "http" || scheme == "https" else { throw .scheme(text) }
    guard part(CURLUPART_PATH) == "/", part(CURLUPART_QUERY) == nil, part(CURLUPART_FRAGMENT) == nil else {
      throw .path(text)
    }
    // libcurl would look an international name up, and keeps a zone beside the address.
    guard let host = part(CURLUPART_HOST), host.utf8.allSatisfy({ $0 < 0x80 }), part(CURLUPART_ZONEID) == nil else {
      throw .host(text)
    }
    guard let port = part(CURLUPART_PORT, saysScheme ? CURLU_DEFAULT_PORT : 0).flatMap({ UInt16($0) }), port > 0 else {
      throw .port(text)
    }
    let name = String(host.drop { $0 == "[" }.prefix { $0 != "]" })
    return scheme == "https" ? .tls(host: name, port: port) : .tcp(host: name, port: port)
  }

  private static func part(_ part: CURLUPart, of url: OpaquePointer, _ flags: Int32) -> String? {
    var text: UnsafeMutablePointer<CChar>?
    // Safe: libcurl gives a string of its own, which is copied and freed here.
    guard unsafe curl_url_get(url, part, &text, UInt32(flags)) == CURLUE_OK, let text = unsafe text else { return nil }
    defer { unsafe curl_free(text) }
    return unsafe String(cString: text)
  }
}

/// Why a text is no ``Endpoint``. Each case carries the text, which may have a password in it; the description has none.
public enum EndpointError: Error, Equatable, CustomStringConvertible {
  /// It has another scheme than `http`, `https` or `unix`.
  case scheme(String)
  /// Its host is missing or malformed.
  case host(String)
  /// Its port is missing or not 1 to 65535.
  case port(String)
  /// It has a path, a query or a fragment.
  case path(String)
  /// It has the name of a user, or a password.
  case user(String)
  /// Its socket path is not absolute, or too long.
  case socketPath(String)

  /// What is wrong, and what would be right.
  public var description: String {
    switch self {
    case .scheme(let text): "\(shown(text)): only http://, https:// and unix: are known"
    case .host(let text): "\(shown(text)): the host is missing or malformed; say host:port or [address]:port"
    case .port(let text): "\(shown(text)): the port is missing or not 1 to 65535; say host:port or [address]:port"
    case .path(let text): "\(shown(text)): a server has no path of its own; say http://host:port"
    case .user(let text): "\(shown(text)): a server takes no user and no password; say http://host:port"
    case .socketPath(let text): "\(text): the socket's path must be absolute and at most 107 bytes"
    }
  }

  /// The text without a user and a password: what stands before the last @ may be a secret.
  private func shown(_ text: String) -> String {
    guard let at = text.lastIndex(of: "@") else { return text }
    let scheme = text.firstRange(of: "://").map { text[..<$0.upperBound] } ?? ""
    return scheme + "***" + text[at...]
  }
}
