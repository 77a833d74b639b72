import CMicroHTTP
import Synchronization

/// A request that waits for its answer: the one thing that other threads than the connection's own may touch.
///
/// It is settled once: by its answer, or because its client left. Whoever settles it resumes the connection, within the
/// same critical section, and the connection's thread finds the answer or, without one, closes.
final class Suspension: Watcher {
  private struct State {
    /// Set while libmicrohttpd has the connection suspended.
    var connection: MHDConnection?
    var answer: HTTPResponse?
    /// The answer has been given, or nobody wants it any more.
    var isSettled = false
    var hasLeft = false
    var whenLeft: (@Sendable () -> Void)?
    /// Set only while the connection is suspended, so that its descriptor is open.
    var token: ClientWatch.Token?
  }

  private let thread: ServerThread
  private let descriptor: Int32
  private let requestID: String
  /// Guards all of `State`. libmicrohttpd's own locks and the watch's are taken inside it, never the other way round:
  /// both call nothing of ours under them. Handlers' closures are neither called nor freed under it: they may own a
  /// responder, whose end comes back here.
  private let state = Mutex(State())

  init(_ thread: ServerThread, _ descriptor: Int32, _ requestID: String) {
    self.thread = thread
    self.descriptor = descriptor
    self.requestID = requestID
  }

  /// Suspends the connection unless the answer is there already. On the connection's own thread.
  func begin(_ connection: MHDConnection) -> HTTPResponse? {
    state.withLock {
      if let answer = $0.answer.take() { return answer }
      $0.connection = connection
      connection.suspend()
      if $0.whenLeft != nil { watch(&$0) }
      return nil
    }
  }

  /// The answer that has ended the suspension; nil when the client left first. On the connection's own thread.
  func takeAnswer() -> HTTPResponse? { state.withLock { $0.answer.take() } }

  /// The first answer counts; false for any other, and where the client was gone before it. From any thread.
  @discardableResult
  func complete(_ response: HTTPResponse) -> Bool {
    let settled = settle { state in
      // The watch may not have come round to it: what leaves now would be written for nobody, and counted as sent.
      state.hasLeft = state.token != nil && cmicrohttp_has_left(descriptor)
      if !state.hasLeft { state.answer = response }
      return !state.hasLeft
    }
    if settled.isFirst, !settled.isAnswered { settled.whenLeft?() }
    return settled.isFirst && settled.isAnswered
  }

  /// Answers for a handler that never will. From any thread.
  func complete(_ refusal: HTTPRefusal) {
    guard !state.withLock({ $0.isSettled }) else { return }
    complete(thread.core.response(to: refusal, requestID))
  }

  /// See `HTTPResponder.whenClientLeaves`.
  func whenClientLeaves(_ body: @escaping @Sendable () -> Void) {
    let (hasLeft, replaced) = state.withLock { state in
      guard !state.isSettled else { return (state.hasLeft, Optional<@Sendable () -> Void>.none) }
      let replaced = state.whenLeft
      state.whenLeft = body
      if state.connection != nil, state.token == nil { watch(&state) }
      return (false, replaced)
    }
    withExtendedLifetime(replaced) {}
    if hasLeft { body() }
  }

  func clientLeft() {
    let settled = settle { state in
      state.hasLeft = true
      return false
    }
    if settled.isFirst { settled.whenLeft?() }
  }

  /// Settles it unless that was done; `how` tells whether there is an answer to be sent.
  private func settle(
    _ how: (inout State) -> Bool
  ) -> (isFirst: Bool, isAnswered: Bool, whenLeft: (@Sendable () -> Void)?) {
    state.withLock { state in
      guard !state.isSettled else { return (false, false, nil) }
      state.isSettled = true
      let isAnswered = how(&state)
      if let token = state.token.take() { thread.watch.remove(descriptor, token) }
      // Alive: libmicrohttpd frees no suspended connection, and it is resumed under this lock, once.
      if let connection = state.connection.take() {
        connection.resume()
        thread.wake()
      }
      return (true, isAnswered, state.whenLeft.take())
    }
  }

  private func watch(_ state: inout State) {
    state.token = thread.watch.add(descriptor, self)
    if state.token == nil { thread.core.configuration.diagnostics?("no memory to watch for a client's leaving") }
  }
}
