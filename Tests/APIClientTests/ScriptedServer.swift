import Glibc
import Synchronization

/// A server that reads requests and answers each with the next text of a script, whatever was asked. When the script
/// is over, or says so, it closes the connection.
final class ScriptedServer: Sendable {
  enum Answer: Sendable {
    /// These bytes, on the connection as it is.
    case bytes([UInt8])
    /// These bytes, and then the end of the connection.
    case lastBytes([UInt8])
    /// Nothing, until the client gives up.
    case silence
  }

  /// A request as it came.
  struct Request: Sendable {
    var head: String
    var body: [UInt8]

    var line: String { String(head.prefix { $0 != "\r\n" }) }

    func header(_ name: String) -> String? {
      for line in head.split(separator: "\r\n") where line.lowercased().hasPrefix(name.lowercased() + ":") {
        return line.dropFirst(name.count + 1).trimmingPrefix(" ").description
      }
      return nil
    }
  }

  struct Record: Sendable {
    var requests: [Request] = []
    var connections = 0
  }

  private let listener: Int32
  private let record = Mutex(Record())
  private let thread = Mutex<pthread_t?>(nil)
  private let answers: [Answer]
  let endpoint: String

  var requests: [Request] { record.withLock { $0.requests } }
  var connections: Int { record.withLock { $0.connections } }

  /// Listens on a free port of the loopback address, or on a socket at that path.
  init(_ answers: [Answer], path: String? = nil) throws {
    self.answers = answers
    (listener, endpoint) = try path.map(Self.listen(at:)) ?? Self.listen()
    // Safe: the thread owns a reference of its own, and gives it back when it ends.
    let context = unsafe Unmanaged.passRetained(self).toOpaque()
    var created = pthread_t()
    guard unsafe pthread_create(&created, nil, serve, context) == 0 else { throw SetUpError(what: "pthread_create") }
    thread.withLock { $0 = created }
  }

  struct SetUpError: Error { var what: String }

  /// Ends the thread. A test calls it when it is done with its client.
  func stop() {
    shutdown(listener, Int32(SHUT_RDWR))
    // Joined once: the value is taken out under the lock.
    if let thread = thread.withLock({ $0.take() }) { _ = pthread_join(thread, nil) }
    close(listener)
  }

  fileprivate func run() {
    var script = answers[...]
    while true {
      let connection = accept(listener, nil, nil)
      if connection < 0 { return }
      record.withLock { $0.connections += 1 }
      converse(connection, &script)
      close(connection)
    }
  }

  private func converse(_ connection: Int32, _ script: inout ArraySlice<Answer>) {
    var buffer: [UInt8] = []
    while let request = readRequest(connection, &buffer) {
      record.withLock { $0.requests.append(request) }
      switch script.popFirst() {
      case .bytes(let bytes): send(bytes, to: connection)
      case .lastBytes(let bytes):
        send(bytes, to: connection)
        return
      case .silence: continue
      case nil: return
      }
    }
  }

  private func readRequest(_ connection: Int32, _ buffer: inout [UInt8]) -> Request? {
    let blank = Array("\r\n\r\n".utf8)
    while true {
      if let end = buffer.firstRange(of: blank) {
        var request = Request(head: String(decoding: buffer[..<end.lowerBound], as: UTF8.self), body: [])
        let length = request.header("Content-Length").flatMap { Int($0) } ?? 0
        if buffer.count - end.upperBound >= length {
          request.body = Array(buffer[end.upperBound..<(end.upperBound + length)])
          buffer.removeFirst(end.upperBound + length)
          return request
        }
      }
      // Safe: the buffer has room for as much as is asked for, and the count is what was filled.
      let bytes = unsafe [UInt8](unsafeUninitializedCapacity: 65536) { buffer, count in
        count = unsafe max(0, read(connection, buffer.baseAddress, 65536))
      }
      if bytes.isEmpty { return nil }
      buffer += bytes
    }
  }

  private func send(_ bytes: [UInt8], to connection: Int32) {
    var rest = bytes[...]
    while !rest.isEmpty {
      // Safe: the buffer outlives the call. A client that is gone is its test's business.
      let sent = unsafe rest.withUnsafeBytes {
        unsafe Glibc.send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      if sent <= 0 { return }
      rest = rest.dropFirst(sent)
    }
  }

  private static func listen() throws -> (Int32, String) {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    // Safe: the structure is one the calls expect, and its size is said.
    let isBound = unsafe withUnsafeMutablePointer(to: &address) {
      unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe bind(listener, $0, size) == 0 && getsockname(listener, $0, &size) == 0
      }
    }
    guard isBound, Glibc.listen(listener, 8) == 0 else { throw SetUpError(what: "bind or listen") }
    return (listener, "http://127.0.0.1:\(UInt16(bigEndian: address.sin_port))")
  }

  private static func listen(at path: String) throws -> (Int32, String) {
    let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    // Safe: the path is shorter than the field, which is zero behind it.
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
    let size = socklen_t(MemoryLayout<sockaddr_un>.size)
    let isBound = unsafe withUnsafePointer(to: &address) {
      unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe bind(listener, $0, size) == 0 }
    }
    guard isBound, Glibc.listen(listener, 8) == 0 else { throw SetUpError(what: "bind or listen") }
    return (listener, "unix:\(path)")
  }
}

private func serve(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  guard let context = unsafe context else { return nil }
  // Safe: this is the reference that the creator of the thread retained for it.
  unsafe Unmanaged<ScriptedServer>.fromOpaque(context).takeRetainedValue().run()
  return nil
}

extension ScriptedServer.Answer {
  /// A complete answer.
  static func http(
    _ status: Int = 200, type: String = "application/json", headers: [String] = [], _ body: String = ""
  ) -> Self {
    .http(status, type: type, headers: headers, body: Array(body.utf8))
  }

  /// A complete answer with any bytes.
  static func http(_ status: Int, type: String, headers: [String], body: [UInt8]) -> Self {
    let fields = ["Content-Type: \(type)", "Content-Length: \(body.count)"] + headers
    return .bytes(Array("HTTP/1.1 \(status) Status\r\n\(fields.joined(separator: "\r\n"))\r\n\r\n".utf8) + body)
  }
}
