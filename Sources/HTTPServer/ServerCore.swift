import Synchronization

/// What all connections of a server share.
final class ServerCore: Sendable {
  let handler: any HTTPHandler
  let configuration: HTTPServerConfiguration
  /// Set once by draining; a late reader merely keeps one more connection alive, so relaxed will do.
  let draining = Atomic(false)
  /// Set once by stop, before it walks the connections. A connection reads it under its own lock, which stop takes
  /// afterwards: whoever suspends without having seen it is found by the walk.
  let stopping = Atomic(false)
  /// Wakes stop when a request has been answered.
  let finished = WakeSignal()
  /// Where the fields of a head lie in memory is known for the release it was read in; see `HeadScan`.
  let knowsHeadLayout: Bool

  /// Guards the list of open connections and each connection's index in it. Taken by itself, never inside another.
  private let connections = Mutex<[Connection]>([])
  private let requestIDPrefix: [UInt8]
  private let requestCount = Atomic<UInt64>(0)

  init(_ configuration: HTTPServerConfiguration, _ handler: any HTTPHandler) {
    self.configuration = configuration
    self.handler = handler
    knowsHeadLayout = MicroHTTP.version.hasPrefix("0.9.75")
    let random = UInt32.random(in: .min ... .max)
    requestIDPrefix = (0..<8).map { ASCII.hexDigits[Int(random >> (28 - 4 * $0) & 15)] } + [0x2D]
  }

  func add(_ connection: Connection) {
    connections.withLock {
      // SAFETY: every index is used under this lock only.
      unsafe connection.index = $0.count
      $0.append(connection)
    }
  }

  func remove(_ connection: Connection) {
    connections.withLock {
      let last = $0.removeLast()
      if last !== connection {
        // SAFETY: as in `add`.
        unsafe $0[connection.index] = last
        unsafe last.index = connection.index
      }
    }
  }

  func openConnections() -> [Connection] { connections.withLock { $0 } }

  /// Unique within the process, unlikely to repeat across processes.
  func makeRequestID() -> String {
    let count = requestCount.add(1, ordering: .relaxed).newValue
    var bytes = requestIDPrefix
    bytes.reserveCapacity(21)
    for shift in stride(from: UInt64(44), through: 0, by: -4) {
      bytes.append(ASCII.hexDigits[Int(count >> shift & 15)])
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  func response(to refusal: HTTPRefusal, _ requestID: String) -> HTTPResponse {
    handler.response(to: refusal, requestID: requestID)
  }

  /// A full answer on the wire, for the two cases in which libmicrohttpd takes none: in the middle of a body.
  func serialized(_ response: HTTPResponse, _ requestID: String) -> [UInt8] {
    var head = "HTTP/1.1 \(response.status) \(MicroHTTP.reasonPhrase(response.status))\r\nConnection: close\r\n"
    let fields = response.headers + [("X-Request-Id", requestID), ("Content-Length", String(response.body.count))]
    for field in fields where !(field.name + field.value).utf8.contains(where: { ASCII.isControl($0) }) {
      head += "\(field.name): \(field.value)\r\n"
    }
    return Array((head + "\r\n").utf8) + response.body
  }
}
