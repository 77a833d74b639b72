import CMicroHTTP
import Glibc
import Synchronization

/// What libmicrohttpd gets when it asks for bytes of an answer.
enum AnswerPiece {
  /// So many were copied.
  case bytes(Int)
  /// None yet: the connection is suspended now.
  case none
  case end
  case failure
}

/// The bytes of one streamed answer on their way from the handler's threads to the connection's.
///
/// libmicrohttpd asks for bytes whenever it can send some. While there are none the connection is suspended; the
/// thread that brings some resumes it. The client is watched from the first byte to the last.
final class Transfer: Watcher {
  private enum Phase {
    case open
    /// Nothing is added any more; what is there goes out.
    case finishing
    /// What is there is lost.
    case cut
    /// The connection is no longer ours.
    case over
  }

  private struct State {
    var phase = Phase.open
    /// Given and not taken: those from `start` on.
    var pending: [UInt8]
    var start = 0
    /// Of all bytes; the first `free` of them are the response's own body and not counted as backlog.
    var given: Int
    var taken = 0
    /// Set while libmicrohttpd has the connection suspended.
    var isSuspended = false
    var token: ClientWatch.Token?
    var whenClosed: (@Sendable () -> Void)?
  }

  private let thread: ServerThread
  private let connection: MHDConnection
  private let descriptor: Int32
  private let limit: Int
  private let free: Int
  /// Guards all of `State`, and thereby `connection` and `descriptor`, which are good until the phase is `over`. Its place
  /// among the locks is that of `Suspension.state`; libmicrohttpd holds the response's own lock when it asks for bytes.
  /// Handlers' closures are neither called nor freed under it.
  private let state: Mutex<State>

  /// `body` goes out before what is sent.
  init(_ thread: ServerThread, _ connection: MHDConnection, body: [UInt8]) {
    self.thread = thread
    self.connection = connection
    descriptor = connection.socket
    limit = thread.core.configuration.streamBacklogLimit
    free = body.count
    state = Mutex(State(pending: body, given: body.count))
  }

  // MARK: From any thread

  func send(_ bytes: [UInt8]) -> Bool {
    state.withLock { state in
      guard state.phase == .open else { return false }
      guard state.given - max(state.taken, free) + bytes.count <= limit else {
        cut(&state)
        return false
      }
      state.given += bytes.count
      // Moved to the front now and then, so that each byte is moved once or twice.
      if state.start > state.pending.count / 2 {
        state.pending.removeSubrange(..<state.start)
        state.start = 0
      }
      state.pending += bytes
      if !bytes.isEmpty { resume(&state) }
      return true
    }
  }

  func finish() {
    state.withLock { state in
      guard state.phase == .open else { return }
      state.phase = .finishing
      resume(&state)
    }
  }

  func cut() {
    state.withLock { state in
      if state.phase == .open { cut(&state) }
    }
  }

  func whenClosed(_ body: @escaping @Sendable () -> Void) {
    let (isOver, replaced) = state.withLock { state in
      if state.phase == .over { return (true, Optional<@Sendable () -> Void>.none) }
      let replaced = state.whenClosed
      state.whenClosed = body
      return (false, replaced)
    }
    withExtendedLifetime(replaced) {}
    if isOver { body() }
  }

  func clientLeft() {
    state.withLock { state in
      if state.phase != .over { cut(&state) }
    }
  }

  /// Bytes that libmicrohttpd has taken.
  var given: Int { state.withLock { $0.taken } }

  /// Bytes that libmicrohttpd has not taken, for tests.
  var waiting: Int { state.withLock { $0.given - $0.taken } }

  private func cut(_ state: inout State) {
    state.phase = .cut
    resume(&state)
    // libmicrohttpd may be waiting for the client to take what it has: so it notices, too.
    shutdown(descriptor, Int32(SHUT_RDWR))
  }

  private func resume(_ state: inout State) {
    guard state.isSuspended else { return }
    state.isSuspended = false
    // Alive: libmicrohttpd frees no suspended connection.
    connection.resume()
    thread.wake()
  }

  // MARK: On the connection's own thread

  /// The head is queued.
  func begin() {
    // Left alone, the kernel would keep megabytes for a client that does not read.
    var size: Int32 = 64 << 10
    // Safe: the option is an int and so is `size`.
    unsafe setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<Int32>.size))
    state.withLock { state in
      state.token = thread.watch.add(descriptor, self)
      // Nobody would ever notice that the client has gone.
      if state.token == nil { cut(&state) }
    }
  }

  /// Copies what is there, as far as it fits.
  func read(into buffer: UnsafeMutableRawBufferPointer) -> AnswerPiece {
    state.withLock { state in
      guard state.phase == .open || state.phase == .finishing else { return .failure }
      let count = min(buffer.count, state.pending.count - state.start)
      guard count > 0 else {
        if state.phase == .finishing { return .end }
        state.isSuspended = true
        connection.suspend()
        return .none
      }
      let end = state.start + count
      // Safe: the slice fits into the buffer, which is libmicrohttpd's for the call.
      unsafe state.pending[state.start..<end].withUnsafeBytes { unsafe buffer.copyMemory(from: $0) }
      state.start = end
      state.taken += count
      if end == state.pending.count {
        state.pending.removeAll(keepingCapacity: end < 16 << 10)
        state.start = 0
      }
      return .bytes(count)
    }
  }

  /// The request is over. Returns how many bytes libmicrohttpd took, and the closure to be called.
  func end() -> (taken: Int, whenClosed: (@Sendable () -> Void)?) {
    state.withLock { state in
      state.phase = .over
      state.pending = []
      if let token = state.token.take() { thread.watch.remove(descriptor, token) }
      return (state.taken, state.whenClosed.take())
    }
  }
}
