import Synchronization

/// A request that waits for its answer: the one thing that other threads than the connection's own may touch.
final class Suspension: Sendable {
  private struct State {
    /// Set while libmicrohttpd has the connection suspended.
    var connection: MHDConnection?
    var answer: HTTPResponse?
    /// The answer has been given, or nobody wants it any more.
    var isSettled = false
  }

  private let thread: ServerThread
  private let requestID: String
  /// Guards all of `State`. libmicrohttpd's own locks are taken inside it, never the other way round: it calls nothing
  /// of ours under them.
  private let state = Mutex(State())

  init(_ thread: ServerThread, _ requestID: String) {
    self.thread = thread
    self.requestID = requestID
  }

  /// Suspends the connection unless the answer is there already. On the connection's own thread.
  func begin(_ connection: MHDConnection) -> HTTPResponse? {
    state.withLock {
      if let answer = $0.answer.take() { return answer }
      $0.connection = connection
      connection.suspend()
      return nil
    }
  }

  /// The answer that has ended the suspension. On the connection's own thread.
  func takeAnswer() -> HTTPResponse? { state.withLock { $0.answer.take() } }

  /// The first answer counts. From any thread.
  func complete(_ response: HTTPResponse) {
    state.withLock {
      guard !$0.isSettled else { return }
      $0.isSettled = true
      $0.answer = response
      // Alive: libmicrohttpd frees no suspended connection, and it is resumed under this lock, once.
      guard let connection = $0.connection.take() else { return }
      connection.resume()
      thread.wake()
    }
  }

  /// Answers for a handler that never will. From any thread.
  func complete(_ refusal: HTTPRefusal) {
    guard !state.withLock({ $0.isSettled }) else { return }
    complete(thread.core.response(to: refusal, requestID))
  }
}
