import CMicroHTTP
import Glibc
import LinuxSupport
import Synchronization

/// One client's socket, from accept to close. Used on its thread only.
final class Connection {
  let thread: ServerThread
  let peer: String
  let proof: HTTPPeerProof
  /// Where the thread keeps it.
  var index = 0

  private let mhd: MHDConnection
  private let descriptor: Int32
  private let tls: TLSSession?
  /// Those that the session points to.
  private let credentials: TLSCredentials?
  /// What the client has shown. Not before the handshake is over; the same for every request.
  private(set) lazy var peerCertificate = tls?.peerCertificate() ?? .none
  private(set) var exchange: Exchange?
  /// CLOCK_MONOTONIC nanoseconds.
  private var deadline: UInt64
  /// The client had nothing more to send when it was last looked at, and still owed a request.
  private var hasEnded = false
  private var delivery = Delivery()
  /// CLOCK_MONOTONIC nanoseconds of the accept, or of the end of the last request.
  private(set) var quietSince: UInt64
  /// It may be closed for another connection: no request is under way. One that has never sent a request has a second or
  /// so to do it.
  var isSpare = false {
    didSet {
      guard isSpare != oldValue else { return }
      if isSpare { thread.spare.add(1, ordering: .relaxed) } else { thread.spare.subtract(1, ordering: .relaxed) }
    }
  }
  private var isWaiting = false
  /// It was accepted past the limit, and is there for essential requests alone.
  private(set) var isReserve = false
  /// It is being closed to make room.
  private(set) var isLeaving = false

  init(_ thread: ServerThread, _ mhd: MHDConnection) {
    self.thread = thread
    self.mhd = mhd
    descriptor = mhd.socket
    // Safe: socketName keeps to the contract of getpeername(2).
    switch unsafe SocketName(of: descriptor, with: getpeername) {
    case .ip(let address, _): (peer, proof) = (address.text, .nothing)
    case .unix: (peer, proof) = ("unix", HTTPPeerProof(ofProcessAt: descriptor))
    case .other, nil: (peer, proof) = ("unknown", .nothing)
    }
    tls = mhd.tlsSession
    credentials = tls == nil ? nil : thread.core.credentials.withLock { $0 }
    if let tls, let credentials { tls.begin(with: credentials) }
    quietSince = MonotonicClock.now()
    deadline = quietSince + thread.core.requestDeadlineNS
  }

  var speaksTLS: Bool { tls != nil }

  // MARK: Its part of the limits

  /// It is in reserve and has not said what for.
  var isUnheardReserve: Bool { isReserve && !isLeaving && exchange?.awaitsHead ?? true }

  func becomeReserve() { isReserve = true }

  /// Closes it for another connection. `leavingBegan` has been called.
  func leave() {
    isLeaving = true
    isSpare = false
    shut()
  }

  /// Whether the request with this head is served.
  func admits(_ head: HTTPRequestHead) -> Bool {
    guard isReserve else { return true }
    if core.load.hasRoom { isReserve = false }
    return !isReserve || core.handler.isEssential(head)
  }

  // MARK: Deadlines

  /// A request line has come.
  func begin(_ exchange: Exchange) {
    self.exchange = exchange
    isSpare = false
    hasEnded = false
    deadline = exchange.started + core.requestDeadlineNS
  }

  /// The request has been received; the client has as long again to take the answer.
  func extendDeadline() { deadline += core.requestDeadlineNS }

  /// The handler takes its time.
  func suspendDeadline() {
    holdDeadline()
    if !isWaiting { core.load.waitBegan() }
    isWaiting = true
  }

  /// The client is kept waiting for a disk.
  func holdDeadline() { deadline = .max }

  /// The client has its time anew: it need not wait any more.
  func renewDeadline() {
    deadline = MonotonicClock.now() + core.requestDeadlineNS
    endWait()
  }

  private func endWait() {
    if isWaiting { core.load.waitEnded() }
    isWaiting = false
  }

  /// So many bytes have gone either way at `now`. A client that keeps to 256 KiB a deadline, on average, is not cut off;
  /// it may be ahead by one deadline.
  func credit(_ count: Int, at now: UInt64) {
    let period = core.requestDeadlineNS
    let earned = UInt64(clamping: min(count, Self.quota)) * period / UInt64(Self.quota)
    let (sum, overflow) = deadline.addingReportingOverflow(earned)
    if !overflow { deadline = min(sum, max(deadline, now + 2 * period)) }
  }

  private static let quota = 256 << 10

  /// The request is over.
  func finish(_ now: UInt64) {
    exchange = nil
    hasEnded = false
    quietSince = now
    isSpare = !isReserve && !isLeaving
    endWait()
    // libmicrohttpd does not report the next request's first byte. It closes after the inactivity timeout, so this never
    // cuts an honest client short, and bounds a dribbling one.
    deadline = now + core.inactivityTimeoutNS + core.requestDeadlineNS
  }

  /// Closes an expired connection: with an answer if the request is incomplete, silently otherwise. Closes it as well
  /// when the client has given the request up.
  func inspect(_ now: UInt64) {
    if exchange == nil, !isReserve, !isLeaving, quietSince + 1_000_000_000 <= now { isSpare = true }
    if let exchange, exchange.isAnswering { lookAtDelivery(of: exchange, now) }
    if now >= deadline {
      exchange?.expire()
      shut()
      deadline = .max
    } else if exchange?.isReceiving ?? true, deadline != .max {
      // libmicrohttpd waits for edges and misses the end of a stream that comes along with its last bytes. Seen twice,
      // so that what was read before that end is dealt with.
      let isAtEnd = self.isAtEnd()
      if isAtEnd, hasEnded { shut() }
      hasEnded = isAtEnd
    }
  }

  /// The kernel holds megabytes for a client, and libmicrohttpd may write nothing for minutes while the client takes
  /// them. So both deadlines, ours and libmicrohttpd's for inactivity, go by what the client takes.
  private func lookAtDelivery(of exchange: Exchange, _ now: UInt64) {
    let taken = delivery.taken(from: descriptor, given: exchange.bytesGiven)
    guard taken > 0 else { return }
    credit(taken, at: now)
    mhd.renewTimeout(seconds: core.configuration.inactivityTimeout)
  }

  /// libmicrohttpd reports `line` and may be about to refuse this connection's head. True when it is, and was answered.
  func forestall(_ line: String) -> Bool {
    guard let exchange, exchange.awaitsHead, mhd.headSize > 0, mhd.queuedStatus == 0 else { return false }
    exchange.refuseLength(isTooLarge: line.contains("Too large"))
    // Nothing of libmicrohttpd's own page follows.
    shutdown(descriptor, Int32(SHUT_WR))
    return true
  }

  /// Sends bytes past libmicrohttpd, which takes no answer in the middle of a body, but not past TLS.
  func sendRaw(_ bytes: [UInt8]) -> Bool {
    if let tls { return tls.send(bytes) }
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

extension HTTPPeerProof {
  /// Who has connected to this unix socket; nothing where the kernel does not say.
  fileprivate init(ofProcessAt socket: Int32) {
    guard let peer = SocketPeer(of: socket) else {
      self = .nothing
      return
    }
    self = .process(uid: peer.uid, gid: peer.gid, groups: peer.groups)
  }
}

/// How much of what a socket was given has been taken by its client's machine, from look to look.
private struct Delivery {
  private var acknowledged: Int64?
  private var held: Int32?
  private var given = 0

  /// Bytes taken since the last look; 0 at the first one.
  mutating func taken(from descriptor: Int32, given: Int) -> Int {
    let total = cmicrohttp_acknowledged(descriptor)
    if total >= 0 {
      defer { acknowledged = total }
      return acknowledged.map { Int(clamping: total - $0) } ?? 0
    }
    // Other sockets count nothing, but what they hold changes as their client takes it: less of it, or new bytes in its
    // place. The sum is no less than what is needed to see movement.
    let held = cmicrohttp_held(descriptor)
    defer { (self.held, self.given) = (held, given) }
    guard let last = self.held, held >= 0 else { return 0 }
    return Int(abs(last - held)) + max(0, given - self.given)
  }
}
