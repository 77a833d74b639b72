import Glibc
import Synchronization

/// One client's socket: who may answer it, and by when.
final class Connection: Sendable {
  enum Phase {
    /// No request line yet.
    case idle
    /// A request is coming in.
    case receiving
    /// The request belongs to the handler, or its answer is on its way.
    case answering
    /// Waits for a responder, in libmicrohttpd's list of suspended connections.
    case suspended(MHDConnection)
    /// The deadline took the request; nothing more is done for it.
    case expired
  }

  struct State {
    /// -1 once libmicrohttpd is about to close it.
    var descriptor: Int32
    var phase = Phase.idle
    /// CLOCK_MONOTONIC nanoseconds.
    var deadline: UInt64
    var exchange: Exchange?
    var answer: HTTPResponse?
    /// The request's id, once its head is understood and its body awaited.
    var requestID: String?
    var timeout: Timeout?
    /// The client had nothing more to send when it was last looked at, and still owed a request.
    var hasEnded = false
  }

  /// What a client past its deadline was told.
  struct Timeout {
    var requestID: String
    var bytesSent: Int?
  }

  let core: ServerCore
  let peer: String
  /// Guarded by the lock of the core's list.
  nonisolated(unsafe) var index = 0
  /// Guards all of `State`. libmicrohttpd's own locks are taken inside it, never the other way round: none of its
  /// callbacks runs under one.
  private let state: Mutex<State>

  init(_ core: ServerCore, _ descriptor: Int32) {
    self.core = core
    // SAFETY: SocketName keeps to the contract of getpeername(2).
    switch unsafe SocketName(of: descriptor, with: getpeername) {
    case .ip(let address, _): peer = address.text
    case .unix: peer = "unix"
    case .other, nil: peer = "unknown"
    }
    state = Mutex(State(descriptor: descriptor, deadline: monotonicNS() + Self.ns(core.configuration.requestDeadline)))
  }

  /// A request line has come.
  func begin(_ exchange: Exchange) {
    state.withLock {
      $0.exchange = exchange
      if case .expired = $0.phase { return }
      $0.phase = .receiving
      $0.hasEnded = false
      $0.deadline = exchange.started + Self.ns(core.configuration.requestDeadline)
    }
  }

  /// The body of the request with this id is awaited.
  func expectBody(of requestID: String) { state.withLock { $0.requestID = requestID } }

  /// Takes the right to answer; false when the deadline has it.
  func claim() -> Bool {
    state.withLock {
      guard case .receiving = $0.phase else { return false }
      $0.phase = .answering
      $0.deadline = monotonicNS() + Self.ns(core.configuration.requestDeadline)
      return true
    }
  }

  enum Wait {
    case answered(HTTPResponse)
    case suspended
    case refused
  }

  /// Suspends the connection unless its answer is there already or will not be waited for. On its own thread only.
  func suspend(_ connection: MHDConnection) -> Wait {
    state.withLock {
      if let answer = $0.answer.take() { return .answered(answer) }
      if core.stopping.load(ordering: .relaxed) { return .refused }
      $0.phase = .suspended(connection)
      $0.deadline = .max
      connection.suspend()
      return .suspended
    }
  }

  /// The answer that ended a suspension. On the connection's own thread only.
  func takeAnswer() -> HTTPResponse? { state.withLock { $0.answer.take() } }

  /// True while the exchange's answer is still wanted.
  func awaits(_ exchange: Exchange) -> Bool { state.withLock { Self.awaits(exchange, $0) } }

  /// Stores the exchange's answer and resumes the connection if it is suspended. From any thread.
  func complete(_ exchange: Exchange, _ response: HTTPResponse) {
    state.withLock {
      guard Self.awaits(exchange, $0) else { return }
      $0.answer = response
      exchange.isSettled = true
      guard case .suspended(let connection) = $0.phase else { return }
      $0.phase = .answering
      $0.deadline = monotonicNS() + Self.ns(core.configuration.requestDeadline)
      // Under the lock, so that stop, which takes it too, cannot overtake the resumption. The connection is alive:
      // libmicrohttpd frees no suspended one.
      connection.resume()
    }
  }

  private static func awaits(_ exchange: Exchange, _ state: State) -> Bool {
    state.exchange === exchange && !exchange.isSettled
  }

  /// The suspended exchange, if any.
  func suspendedExchange() -> Exchange? {
    state.withLock { if case .suspended = $0.phase { $0.exchange } else { nil } }
  }

  /// True until the exchange is over.
  func isBusy(with exchange: Exchange) -> Bool { state.withLock { $0.exchange === exchange } }

  /// The request is over; tells whether its deadline had passed.
  func finish() -> Timeout? {
    state.withLock {
      $0.exchange = nil
      $0.answer = nil
      $0.requestID = nil
      if case .expired = $0.phase { return $0.timeout.take() }
      $0.phase = .idle
      $0.hasEnded = false
      // Nobody can see when the next request's first byte comes. libmicrohttpd closes after the inactivity timeout, so
      // this never cuts an honest client short, and bounds a dribbling one.
      let configuration = core.configuration
      $0.deadline = monotonicNS() + Self.ns(configuration.inactivityTimeout + configuration.requestDeadline)
      return nil
    }
  }

  /// libmicrohttpd is about to close the socket. Returns an exchange that it forgot to end.
  func close() -> Exchange? {
    state.withLock {
      $0.descriptor = -1
      return $0.exchange
    }
  }

  /// Sends raw bytes and lets the client see their end. On the connection's own thread, in the middle of a body.
  func sendRaw(_ bytes: [UInt8]) -> Bool { state.withLock { Self.send(bytes, on: $0.descriptor) } }

  /// Ends what is past its deadline: a request that is still coming in with 408, all else without a word. Ends also
  /// what its client has given up.
  func inspect(_ now: UInt64) {
    guard let late = state.withLock({ expire(&$0, now) }) else { return }
    let timeout = core.response(to: .requestTimeout, late.requestID)
    let bytes = core.serialized(timeout, late.requestID)
    state.withLock {
      // Meanwhile the client may have gone and the descriptor with it.
      guard $0.exchange === late.exchange, $0.descriptor >= 0 else { return }
      if Self.send(bytes, on: $0.descriptor) { $0.timeout?.bytesSent = timeout.body.count }
      shutdown($0.descriptor, Int32(SHUT_RDWR))
    }
  }

  private func expire(_ state: inout State, _ now: UInt64) -> (exchange: Exchange, requestID: String)? {
    guard state.descriptor >= 0 else { return nil }
    guard now >= state.deadline else {
      closeIfEnded(&state)
      return nil
    }
    state.deadline = .max
    guard case .receiving = state.phase, let exchange = state.exchange else {
      // libmicrohttpd sees the end of the stream and cleans up.
      shutdown(state.descriptor, Int32(SHUT_RDWR))
      return nil
    }
    let requestID = state.requestID ?? core.makeRequestID()
    state.phase = .expired
    state.timeout = Timeout(requestID: requestID)
    return (exchange, requestID)
  }

  /// libmicrohttpd waits for edges and misses the end of a stream that comes along with its last bytes. Seen twice, so
  /// that a request whose last bytes have just been read is not lost.
  private func closeIfEnded(_ state: inout State) {
    switch state.phase {
    case .idle, .receiving: break
    case .answering, .suspended, .expired: return
    }
    var byte: UInt8 = 0
    // SAFETY: one byte is asked for and there is room for one.
    let isAtEnd = unsafe recv(state.descriptor, &byte, 1, Int32(MSG_PEEK | MSG_DONTWAIT)) == 0
    if isAtEnd, state.hasEnded { shutdown(state.descriptor, Int32(SHUT_RDWR)) }
    state.hasEnded = isAtEnd
  }

  private static func send(_ bytes: [UInt8], on descriptor: Int32) -> Bool {
    guard descriptor >= 0 else { return false }
    let flags = Int32(MSG_NOSIGNAL | MSG_DONTWAIT)
    // SAFETY: the buffer is the whole array.
    let sent = unsafe bytes.withUnsafeBytes { unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, flags) }
    return sent == bytes.count
  }

  private static func ns(_ seconds: Int) -> UInt64 { UInt64(seconds) * 1_000_000_000 }
}
