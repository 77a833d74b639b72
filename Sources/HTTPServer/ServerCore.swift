import LinuxSupport
import Synchronization

/// What all connections of a server share.
final class ServerCore: Sendable {
  let handler: any HTTPHandler
  let configuration: HTTPServerConfiguration
  /// All threads of the server, from its start to its stop. Guards the list; a leaf.
  let threads = Mutex<[ServerThread]>([])
  /// Reads files and gives bodies to their sinks. A request has one piece of work there at most.
  let disk = WorkerPool(name: "http-disk", threads: 4, queueLimit: .max)
  /// What connections that begin now prove the server with; nil where it speaks no TLS. A leaf.
  let credentials: Mutex<TLSCredentials?>
  /// Set once by draining; a late reader merely keeps one more connection alive, so relaxed will do.
  let draining = Atomic(false)
  /// Where the fields of a head lie in memory is known for the release it was read in; see `HeadScan`.
  let knowsHeadLayout: Bool

  /// Thirty random bits, above the forty that count requests.
  private let requestIDPrefix = UInt64.random(in: 0..<1 << 30)
  private let requestCount = Atomic<UInt64>(0)

  init(_ configuration: HTTPServerConfiguration, _ handler: any HTTPHandler) {
    self.configuration = configuration
    self.handler = handler
    credentials = Mutex(configuration.credentials)
    knowsHeadLayout = MicroHTTP.version.hasPrefix("0.9.75")
  }

  var load: HTTPLoad { configuration.load }
  var requestDeadlineNS: UInt64 { UInt64(configuration.requestDeadline) * 1_000_000_000 }
  var inactivityTimeoutNS: UInt64 { UInt64(configuration.inactivityTimeout) * 1_000_000_000 }

  /// Unique within the process, unlikely to repeat across processes. Short enough to need no memory of its own.
  func makeRequestID() -> String {
    let count = requestCount.add(1, ordering: .relaxed).newValue
    // Safe: fifteen bytes are asked for and all of them written.
    return unsafe String(unsafeUninitializedCapacity: 15) { buffer in
      var rest = count
      for index in stride(from: 14, through: 7, by: -1) {
        unsafe buffer[index] = Self.digit(rest)
        rest >>= 5
      }
      unsafe buffer[6] = 0x2D
      rest = requestIDPrefix
      for index in stride(from: 5, through: 0, by: -1) {
        unsafe buffer[index] = Self.digit(rest)
        rest >>= 5
      }
      return 15
    }
  }

  /// 0 to 9 and a to v for the lowest five bits.
  private static func digit(_ value: UInt64) -> UInt8 {
    let bits = UInt8(truncatingIfNeeded: value & 31)
    return bits < 10 ? 0x30 + bits : 0x57 + bits
  }

  func response(to refusal: HTTPRefusal, _ requestID: String) -> HTTPResponse {
    handler.response(to: refusal, requestID: requestID)
  }

  /// A full answer on the wire, for the two cases in which libmicrohttpd takes none: in the middle of a body.
  func serialized(_ response: HTTPResponse, _ requestID: String) -> [UInt8] {
    var head = "HTTP/1.1 \(response.status) \(MicroHTTP.reasonPhrase(response.status))\r\nConnection: close\r\n"
    let fields = response.headers + [("X-Request-Id", requestID), ("Content-Length", String(response.body.count))]
    for field in fields where ASCII.isToken(field.name.utf8.span) && ASCII.isValue(field.value.utf8.span) {
      head += "\(field.name): \(field.value)\r\n"
    }
    return Array((head + "\r\n").utf8) + response.body
  }
}
