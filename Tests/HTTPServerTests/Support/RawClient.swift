import Glibc
import Testing

@testable import HTTPServer

/// An HTTP client that sends exactly the bytes it is told to.
final class RawClient {
  struct Response {
    var status: Int
    var headers: HTTPHeaders
    var body: [UInt8]
    var text: String { String(decoding: body, as: UTF8.self) }
  }

  struct Failure: Error, CustomStringConvertible {
    var description: String
  }

  private var descriptor: Int32
  /// What speaks TLS over the socket, where the server does.
  private var tls: TLSClient?
  private var received: [UInt8] = []

  /// Every read gives up after 20 seconds: a test fails rather than hangs. `buffer` is the size of the kernel's buffer
  /// for what the server sends. With `transport`, it shakes hands before it returns.
  init(_ address: ListenAddress, receiving buffer: Int32? = nil, _ transport: Transport = .plain) throws {
    switch address {
    case .tcp(let host, let port): descriptor = try Self.connect(host, port, buffer)
    case .unix(let path): descriptor = try Self.connect(path)
    case .inherited: throw Failure(description: "cannot connect to a descriptor")
    }
    var limit = timeval(tv_sec: 20, tv_usec: 0)
    unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    unsafe setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    guard case .tls(let credentials, let priorities) = transport else { return }
    tls = TLSClient(over: descriptor, showing: credentials, priorities: priorities)
    guard tls != nil else { throw Failure(description: "the handshake failed") }
  }

  /// What the bytes go through.
  enum Transport: CustomTestStringConvertible, Sendable {
    case plain
    case tls(TLSCredentials? = nil, priorities: String = "NORMAL")

    var testDescription: String { isTLS ? "over TLS" : "plain" }
    var isTLS: Bool { if case .tls = self { true } else { false } }
  }

  deinit { close() }

  func close() {
    tls = nil
    if descriptor >= 0 { Glibc.close(descriptor) }
    descriptor = -1
  }

  /// Closes with a reset.
  func reset() {
    var hard = linger(l_onoff: 1, l_linger: 0)
    unsafe setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &hard, socklen_t(MemoryLayout<linger>.size))
    close()
  }

  func endSending() { shutdown(descriptor, Int32(SHUT_WR)) }

  func send(_ text: String) throws { try send(Array(text.utf8)) }

  func send(_ bytes: [UInt8]) throws {
    if let tls {
      guard tls.send(bytes) else { throw Failure(description: "send failed") }
      return
    }
    var rest = bytes[...]
    while !rest.isEmpty {
      let sent = unsafe rest.withUnsafeBytes {
        unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      guard sent > 0 else { throw Failure(description: "send failed: errno \(errno)") }
      rest = rest.dropFirst(sent)
    }
  }

  /// The next response; `head` for one that has no body whatever its length says.
  func response(head isHead: Bool = false) throws -> Response {
    let (status, headers) = try responseHead()
    if status == 100 { return Response(status: status, headers: headers, body: []) }
    let length = isHead ? 0 : Int(headers["Content-Length"] ?? "0") ?? 0
    while received.count < length { try fill() }
    let body = Array(received.prefix(length))
    received.removeFirst(length)
    return Response(status: status, headers: headers, body: body)
  }

  /// Sends, then reads one response.
  func exchange(_ text: String) throws -> Response {
    try send(text)
    return try response()
  }

  /// Everything until the server closes; a reset is an end as well.
  func rest() throws -> [UInt8] {
    while true {
      do { try fill() } catch let failure as Failure {
        if failure.description == Self.ended { return received }
        throw failure
      }
    }
  }

  /// Takes so many bytes of a body, and no more out of the kernel's buffer than it must.
  func skip(_ count: Int) throws {
    while received.count < count { try fill() }
    received.removeFirst(count)
  }

  private static let ended = "the connection ended"

  /// The next chunk of a chunked body; empty at its end.
  func chunk() throws -> [UInt8] {
    let line = String(decoding: try take(through: "\r\n"), as: UTF8.self)
    guard let length = Int(line, radix: 16) else { throw Failure(description: "no chunk: \(line)") }
    while received.count < length + 2 { try fill() }
    defer { received.removeFirst(length + 2) }
    return Array(received.prefix(length))
  }

  /// So many bytes of a chunked body, cut into whatever chunks.
  func chunks(bytes count: Int) throws -> [UInt8] {
    var bytes: [UInt8] = []
    while bytes.count < count {
      let chunk = try chunk()
      if chunk.isEmpty { throw Failure(description: "the body ended after \(bytes.count) bytes") }
      bytes += chunk
    }
    return bytes
  }

  func responseHead() throws -> (status: Int, headers: HTTPHeaders) {
    let text = String(decoding: try take(through: "\r\n\r\n"), as: UTF8.self)
    let lines = text.split(separator: "\r\n")
    let words = (lines.first ?? "").split(separator: " ")
    guard words.count >= 2, words[0] == "HTTP/1.1", let status = Int(words[1]) else {
      throw Failure(description: "no status line: \(text)")
    }
    let fields = lines.dropFirst().map { line in
      let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      return (name: String(parts[0]), value: parts.count > 1 ? String(parts[1].drop { $0 == " " }) : "")
    }
    return (status, HTTPHeaders(fields))
  }

  /// What comes before `end`, which is taken as well.
  private func take(through end: String) throws -> [UInt8] {
    let end = Array(end.utf8)
    while true {
      if let length = received.indices.first(where: { received[$0...].starts(with: end) }) {
        defer { received.removeFirst(length + end.count) }
        return Array(received.prefix(length))
      }
      try fill()
    }
  }

  private func fill() throws {
    if let tls {
      guard let bytes = tls.receive(atMost: 65536) else { throw Failure(description: "nothing came in time") }
      if bytes.isEmpty { throw Failure(description: Self.ended) }
      received += bytes
      return
    }
    var buffer = [UInt8](repeating: 0, count: 65536)
    let count = unsafe buffer.withUnsafeMutableBytes { unsafe recv(descriptor, $0.baseAddress, $0.count, 0) }
    let code = errno
    if count == 0 || (count < 0 && code == ECONNRESET) { throw Failure(description: Self.ended) }
    guard count > 0 else { throw Failure(description: "recv failed: errno \(code)") }
    received += buffer.prefix(count)
  }

  private static func connect(_ host: String, _ port: UInt16, _ buffer: Int32?) throws -> Int32 {
    var hints = unsafe addrinfo()
    unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var list: UnsafeMutablePointer<addrinfo>?
    guard unsafe getaddrinfo(host, String(port), &hints, &list) == 0, let first = unsafe list else {
      throw Failure(description: "cannot resolve \(host)")
    }
    defer { unsafe freeaddrinfo(list) }
    let made = unsafe socket(first.pointee.ai_family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    if var buffer { unsafe setsockopt(made, SOL_SOCKET, SO_RCVBUF, &buffer, socklen_t(MemoryLayout<Int32>.size)) }
    guard unsafe Glibc.connect(made, first.pointee.ai_addr, first.pointee.ai_addrlen) == 0 else {
      Glibc.close(made)
      throw Failure(description: "connect failed: errno \(errno)")
    }
    return made
  }

  private static func connect(_ path: String) throws -> Int32 {
    let made = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard unsafe withUnixAddress(path, { unsafe Glibc.connect(made, $0, $1) }) == 0 else {
      Glibc.close(made)
      throw Failure(description: "connect failed: errno \(errno)")
    }
    return made
  }
}
