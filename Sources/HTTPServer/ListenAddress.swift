import Glibc

/// Where a server listens.
public enum ListenAddress: Sendable, Equatable, CustomStringConvertible {
  /// A numeric address or a name, and a port; port 0 lets the kernel choose. A name stands for the first of its
  /// addresses that can be bound.
  case tcp(host: String, port: UInt16)
  /// A unix socket at an absolute path.
  case unix(path: String)
  /// A listening stream socket made by another process, such as a service manager; the server closes it.
  case inherited(fd: Int32)

  /// Reads `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080` or `unix:/path`.
  public init(parsing text: String) throws(ListenAddressError) {
    if text.hasPrefix("unix:") {
      self = .unix(path: try Self.checkedPath(String(text.dropFirst("unix:".count)), text))
      return
    }
    guard let colon = text.lastIndex(of: ":") else { throw ListenAddressError(text, "has no port; write HOST:PORT") }
    let digits = text[text.index(after: colon)...].utf8
    guard (1...5).contains(digits.count), digits.allSatisfy({ (0x30...0x39).contains($0) }),
      let port = UInt16(String(text[text.index(after: colon)...]))
    else { throw ListenAddressError(text, "has no port between 0 and 65535 after its last colon") }
    self = .tcp(host: try Self.checkedHost(text[..<colon], text), port: port)
  }

  /// True when only this machine can reach the address; a unix socket counts. A name other than `localhost` does not.
  public var isLoopback: Bool {
    switch self {
    case .unix: true
    case .inherited(let fd): (try? Self(boundTo: fd))?.isLoopback ?? false
    case .tcp(let host, _):
      host.lowercased() == "localhost" || NumericAddress(host)?.isLoopback ?? false
    }
  }

  /// True for a path in the file system: a local socket, which never speaks TLS.
  var isUnix: Bool { if case .unix = self { true } else { false } }

  /// As `init(parsing:)` reads it; an inherited descriptor is `fd:N`.
  public var description: String {
    switch self {
    case .tcp(let host, let port): host.utf8.contains(0x3A) ? "[\(host)]:\(port)" : "\(host):\(port)"
    case .unix(let path): "unix:\(path)"
    case .inherited(let fd): "fd:\(fd)"
    }
  }

  private static func checkedPath(_ path: String, _ text: String) throws(ListenAddressError) -> String {
    guard path.utf8.first == 0x2F else { throw ListenAddressError(text, "has no absolute path; write unix:/PATH") }
    guard path.utf8.count < UnixSocketPath.capacity else {
      throw ListenAddressError(text, "is longer than the \(UnixSocketPath.capacity - 1) bytes a socket's path may have")
    }
    guard !path.utf8.contains(where: ASCII.isControl) else {
      throw ListenAddressError(text, "holds a control character")
    }
    return path
  }

  private static func checkedHost(_ host: Substring, _ text: String) throws(ListenAddressError) -> String {
    if host.hasPrefix("["), host.hasSuffix("]") {
      let inner = String(host.dropFirst().dropLast())
      guard case .v6 = NumericAddress(inner) else { throw ListenAddressError(text, "has no IPv6 address in brackets") }
      return inner
    }
    guard !host.isEmpty else {
      throw ListenAddressError(text, "has no host; write 0.0.0.0:PORT for every IPv4 address")
    }
    guard !host.utf8.contains(0x3A) else {
      throw ListenAddressError(text, "has a bare IPv6 address; write [ADDRESS]:PORT")
    }
    let nameOctets = host.utf8.allSatisfy { byte in
      (0x30...0x39).contains(byte) || (0x61...0x7A).contains(byte | 0x20) || byte == 0x2D || byte == 0x2E
        || byte == 0x5F
    }
    guard nameOctets else { throw ListenAddressError(text, "has a host that is neither an address nor a name") }
    return String(host)
  }
}

/// Text that is no listen address.
public struct ListenAddressError: Error, Equatable, Sendable, CustomStringConvertible {
  /// What was given.
  public let text: String
  /// What is wrong with it and how to write it.
  public let reason: String

  init(_ text: String, _ reason: String) {
    self.text = text
    self.reason = reason
  }

  /// One line for an operator.
  public var description: String { "\"\(text)\" \(reason)" }
}

/// A numeric IP address.
enum NumericAddress {
  case v4(in_addr)
  case v6(in6_addr)

  init?(_ text: String) {
    var four = in_addr()
    var six = in6_addr()
    // Safe: each buffer is exactly the structure inet_pton(3) fills for its family.
    if unsafe inet_pton(AF_INET, text, &four) == 1 {
      self = .v4(four)
    } else if unsafe inet_pton(AF_INET6, text, &six) == 1 {
      self = .v6(six)
    } else {
      return nil
    }
  }

  var isLoopback: Bool {
    switch self {
    case .v4(let address): UInt32(bigEndian: address.s_addr) >> 24 == 127
    // Safe: sixteen bytes either way, and any bits make an octet.
    case .v6(let address):
      unsafe withUnsafeBytes(of: address) { unsafe $0.elementsEqual([UInt8](repeating: 0, count: 15) + [1]) }
    }
  }

  /// The usual text form.
  var text: String {
    // Safe: the buffer has room for the longest text, and inet_ntop(3) ends it with a NUL.
    unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) { buffer in
      let made: UnsafePointer<CChar>? =
        switch self {
        case .v4(var address): unsafe inet_ntop(AF_INET, &address, buffer.baseAddress, socklen_t(buffer.count))
        case .v6(var address): unsafe inet_ntop(AF_INET6, &address, buffer.baseAddress, socklen_t(buffer.count))
        }
      return unsafe made.map { unsafe String(cString: $0) } ?? ""
    }
  }
}

/// The room `sockaddr_un` has for a path.
enum UnixSocketPath {
  static let capacity = MemoryLayout.size(ofValue: sockaddr_un().sun_path)
}
