import LinuxSupport
import Synchronization

/// A body on its way to its sink, which may write to a disk and so runs on another thread.
///
/// The connection's thread adds pieces, and one worker at a time takes what has come. Where more comes than is taken, the
/// connection is suspended, so that a body takes twice `limit` bytes of memory at most.
final class BodyFeed: Sendable {
  /// What became of a piece, or of the end of the body.
  enum Outcome {
    case taken
    /// The connection is suspended; the same is to be asked again when it goes on.
    case suspended
    /// The sink wants no more, and has answered.
    case answered(HTTPResponse)
    /// The server is stopping.
    case over
  }

  private struct State {
    /// Not yet taken by the worker.
    var pending: [UInt8] = []
    /// A worker has been asked for, or is at it.
    var isBusy = false
    /// Set while libmicrohttpd has the connection suspended.
    var connection: MHDConnection?
    /// Suspended until all has been taken, rather than until there is room.
    var awaitsEnd = false
    var answer: HTTPResponse?
    /// The sink gets nothing any more.
    var isOver = false
  }

  /// Bytes that wait for the sink.
  private static let limit = 128 << 10

  /// Used by one thread at a time: a worker's, and after `drain` the handler's.
  let sink: any HTTPBodySink
  private let thread: ServerThread
  /// Guards all of `State`. Its place among the locks is that of `Suspension.state`. The sink is not called under it.
  private let state = Mutex(State())

  init(_ sink: any HTTPBodySink, _ thread: ServerThread) {
    self.sink = sink
    self.thread = thread
  }

  // MARK: On the connection's own thread

  /// Takes a piece, or suspends the connection where there is no room for it.
  func add(_ piece: UnsafeRawBufferPointer, _ connection: MHDConnection) -> Outcome {
    let (outcome, isIdle) = state.withLock { state -> (Outcome, Bool) in
      if let answer = state.answer { return (.answered(answer), false) }
      if state.isOver { return (.over, false) }
      guard state.pending.isEmpty || state.pending.count + piece.count <= Self.limit else {
        suspend(connection, &state)
        return (.suspended, false)
      }
      // Safe: libmicrohttpd's buffer is valid for this call; it is copied.
      unsafe state.pending.append(contentsOf: piece)
      defer { state.isBusy = true }
      return (.taken, !state.isBusy)
    }
    if isIdle { begin() }
    return outcome
  }

  /// Whether the sink has taken everything; suspends the connection until it has.
  func drain(_ connection: MHDConnection) -> Outcome {
    state.withLock { state in
      if let answer = state.answer { return .answered(answer) }
      if state.isOver { return .over }
      guard state.isBusy else { return .taken }
      state.awaitsEnd = true
      suspend(connection, &state)
      return .suspended
    }
  }

  /// The sink's answer, if it has given one before the end.
  func takeAnswer() -> HTTPResponse? { state.withLock { $0.answer.take() } }

  /// The rest is not wanted; a worker that is busy finishes its piece. True when the connection was suspended, and goes on
  /// now.
  @discardableResult
  func abandon() -> Bool {
    state.withLock { state in
      state.isOver = true
      state.pending = []
      return resume(&state)
    }
  }

  private func begin() {
    do throws(WorkerPool.Refusal) {
      try thread.core.disk.submit { self.work() }
    } catch {
      // The system gives no thread, so this one has to do.
      work()
    }
  }

  private func suspend(_ connection: MHDConnection, _ state: inout State) {
    state.connection = connection
    connection.suspend()
  }

  // MARK: On a worker's thread

  private func work() {
    while let piece = next() {
      // Safe: the array outlives the call.
      guard let answer = unsafe piece.withUnsafeBytes({ bytes in unsafe sink.take(bytes.bytes) }) else { continue }
      state.withLock { state in
        if !state.isOver { state.answer = answer }
        state.isOver = true
        state.pending = []
      }
      // The connection need not be suspended, and its client may send nothing more before it has the answer.
      thread.noteSinkAnswer()
    }
  }

  /// What has come; nil when there is nothing more for now.
  private func next() -> [UInt8]? {
    state.withLock { state in
      if state.pending.isEmpty {
        state.isBusy = false
        resume(&state)
        return nil
      }
      defer { state.pending = [] }
      if !state.awaitsEnd { resume(&state) }
      return state.pending
    }
  }

  @discardableResult
  private func resume(_ state: inout State) -> Bool {
    // Alive: libmicrohttpd frees no suspended connection, and it is resumed under this lock, once.
    guard let connection = state.connection.take() else { return false }
    connection.resume()
    thread.wake()
    return true
  }
}
