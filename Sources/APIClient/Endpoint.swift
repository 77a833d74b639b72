/// Where a server listens.
public enum Endpoint: Sendable, Equatable, CustomStringConvertible {
  /// A host name or address (IPv6 without its brackets) and a port.
  case tcp(host: String, port: UInt16)
  /// The path of a unix socket.
  case unix(path: String)

  /// Parses `http://host:port`, `host:port` or `unix:/path`; an IPv6 address stands in brackets. A port is needed
  /// unless `http://` is said, which means 80.
  public init(_ text: String) throws(EndpointError) {
    if text.hasPrefix("unix:") {
      self = .unix(path: try Self.socketPath(text))
      return
    }
    if text.hasPrefix("https://") { throw .scheme(text) }
    var authority = text[...]
    var defaultPort: UInt16?
    if text.hasPrefix("http://") {
      authority = authority.dropFirst("http://".count)
      if authority.last == "/" { authority.removeLast() }
      defaultPort = 80
    } else if text.contains("://") {
      throw .scheme(text)
    }
    self = try Self.tcp(authority, defaultPort: defaultPort, text: text)
  }

  /// The endpoint as ``init(_:)`` reads it.
  public var description: String {
    switch self {
    case .tcp(let host, let port): "http://\(Self.bracketed(host)):\(port)"
    case .unix(let path): "unix:\(path)"
    }
  }

  /// What stands before the path in a URL; over a unix socket the host is `localhost`.
  var baseURL: String {
    switch self {
    case .tcp: description
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

  private static func tcp(_ authority: Substring, defaultPort: UInt16?, text: String) throws(EndpointError) -> Self {
    var host = authority
    var port = defaultPort
    if let colon = authority.lastIndex(of: ":"), authority.last != "]" {
      host = authority[..<colon]
      port = Self.port(authority[authority.index(after: colon)...])
      if port == nil { throw .port(text) }
    }
    guard let port else { throw .port(text) }
    if host.first == "[" && host.last == "]" {
      host = host.dropFirst().dropLast()
      guard host.contains(":"), host.utf8.allSatisfy(isAddressByte) else { throw .host(text) }
    } else {
      guard !host.isEmpty, host.utf8.allSatisfy(isNameByte) else { throw .host(text) }
    }
    return .tcp(host: String(host), port: port)
  }

  private static func port(_ digits: Substring) -> UInt16? {
    guard digits.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
    return UInt16(digits).flatMap { $0 == 0 ? nil : $0 }
  }

  private static func isAddressByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
      UInt8(ascii: "A")...UInt8(ascii: "F"), UInt8(ascii: ":"), UInt8(ascii: "."):
      true
    default: false
    }
  }

  private static func isNameByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
      UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
      true
    default: false
    }
  }
}

/// Why a text is no ``Endpoint``. Each case carries the text.
public enum EndpointError: Error, Equatable, CustomStringConvertible {
  /// It has another scheme than `http` or `unix`.
  case scheme(String)
  /// Its host is missing or malformed.
  case host(String)
  /// Its port is missing or not 1 to 65535.
  case port(String)
  /// Its socket path is not absolute, or too long.
  case socketPath(String)

  /// What is wrong, and what would be right.
  public var description: String {
    switch self {
    case .scheme(let text): "\(text): only http:// and unix: are known"
    case .host(let text): "\(text): the host is missing or malformed; say host:port or [address]:port"
    case .port(let text): "\(text): the port is missing or not 1 to 65535; say host:port"
    case .socketPath(let text): "\(text): the socket's path must be absolute and at most 107 bytes"
    }
  }
}
