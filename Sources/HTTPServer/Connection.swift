import Glibc
import LinuxSupport

/// One client's socket, from accept to close. Used on its thread only.
final class Connection {
  let thread: ServerThread
  let peer: String
  /// Where the thread keeps it.
  var index = 0

  private let descriptor: Int32
  private(set) var exchange: Exchange?
  /// CLOCK_MONOTONIC nanoseconds.
  private var deadline: UInt64
  /// The client had nothing more to send when it was last looked at, and still owed a request.
  private var hasEnded = false

  init(_ thread: ServerThread, _ descriptor: Int32) {
    self.thread = thread
    self.descriptor = descriptor
    // Safe: socketName keeps to the contract of getpeername(2).
    switch unsafe SocketName(of: descriptor, with: getpeername) {
    case .ip(let address, _): peer = address.text
    case .unix: peer = "unix"
    case .other, nil: peer = "unknown"
    }
    deadline = MonotonicClock.now() + thread.core.requestDeadlineNS
  }

  /// A request line has come.
  func begin(_ exchange: Exchange) {
    self.exchange = exchange
    hasEnded = false
    deadline = exchange.started + core.requestDeadlineNS
  }

  /// The request has been received; the client has as long again to take the answer.
  func extendDeadline() { deadline += core.requestDeadlineNS }

  /// The handler takes its time.
  func suspendDeadline() { deadline = .max }

  /// The client has its time anew: the handler has answered, or enough has gone either way.
  func renewDeadline() { deadline = MonotonicClock.now() + core.requestDeadlineNS }

  /// The request is over.
  func finish(_ now: UInt64) {
    exchange = nil
    hasEnded = false
    // Nobody can see when the next request's first byte comes. libmicrohttpd closes after the inactivity timeout, so this
    // never cuts an honest client short, and bounds a dribbling one.
    deadline = now + core.inactivityTimeoutNS + core.requestDeadlineNS
  }

  /// Ends what is past its deadline, a request that is still coming in with 408 and all else without a word, and what
  /// its client has given up.
  func inspect(_ now: UInt64) {
    if now >= deadline {
      exchange?.expire()
      shut()
      deadline = .max
    } else if exchange?.isReceiving ?? true {
      // libmicrohttpd waits for edges and misses the end of a stream that comes along with its last bytes. Seen twice,
      // so that what was read before that end is dealt with.
      let isAtEnd = self.isAtEnd()
      if isAtEnd, hasEnded { shut() }
      hasEnded = isAtEnd
    }
  }

  /// Sends bytes past libmicrohttpd, which takes no answer in the middle of a body.
  func sendRaw(_ bytes: [UInt8]) -> Bool {
    let flags = Int32(MSG_NOSIGNAL | MSG_DONTWAIT)
    // Safe: the buffer is the whole array.
    let sent = unsafe bytes.withUnsafeBytes { unsafe send(descriptor, $0.baseAddress, $0.count, flags) }
    return sent == bytes.count
  }

  private var core: ServerCore { thread.core }

  /// libmicrohttpd sees the end of the stream and cleans up.
  private func shut() { shutdown(descriptor, Int32(SHUT_RDWR)) }

  private func isAtEnd() -> Bool {
    var byte: UInt8 = 0
    // Safe: one byte is asked for and there is room for one.
    return unsafe recv(descriptor, &byte, 1, Int32(MSG_PEEK | MSG_DONTWAIT)) == 0
  }
}
