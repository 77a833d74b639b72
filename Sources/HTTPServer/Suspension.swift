import CMicroHTTP
import LinuxSupport
import Synchronization

/// A request that is being answered: the one thing that other threads than the connection's own may touch.
///
/// It ends once: by its answer, or because its client left. The thread that ends it resumes the connection in
/// the same critical section. The connection's thread then finds the answer or, without one, closes.
final class Suspension: Watcher {
  private struct State {
    /// Set while libmicrohttpd has the connection suspended.
    var connection: MHDConnection?
    var answer: HTTPResponse?
    /// The answer is there, or the client has left.
    var isOver = false
    var hasLeft = false
    /// Cancels the handler's task, where the client's leaving ends the request.
    var whenLeft: (@Sendable () -> Void)?
    /// Set only while the connection is suspended, so that its descriptor is open.
    var token: ClientWatch.Token?
  }

  private let thread: ServerThread
  private let descriptor: Int32
  private let requestID: String
  /// Guards all of `State`. libmicrohttpd's own locks and the watch's are taken inside it, never the other way round:
  /// both call nothing of ours under them. The handler's task is neither resumed nor cancelled under it.
  private let state = Mutex(State())

  init(_ thread: ServerThread, _ descriptor: Int32, _ requestID: String) {
    self.thread = thread
    self.descriptor = descriptor
    self.requestID = requestID
  }

  /// Has the handler answer. Returns when the answer is there or waits for something. On the connection's own thread.
  func run(_ request: HTTPRequest) {
    let handler = thread.core.handler
    let task = Task(executorPreference: InlineExecutor.shared) { [self] in
      let response = await handler.respond(to: request)
      if !complete(response) { response.whenOver?(false) }
      handler.answered(request, with: response)
    }
    guard let context = request.head.context, context.endsWithClient else { return }
    let isOver = state.withLock { state in
      if !state.isOver { state.whenLeft = { task.cancel() } }
      return state.isOver
    }
    if !isOver { context.waits { task.cancel() } }
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
    let end = finish { state in
      // The watch may not have come round to it: what leaves now would be written for nobody, and counted as sent.
      state.hasLeft = state.token != nil && cmicrohttp_has_left(descriptor)
      if !state.hasLeft { state.answer = response }
      return !state.hasLeft
    }
    return end.isFirst && end.isAnswered
  }

  /// Answers for a handler that has not. From any thread.
  func complete(_ refusal: HTTPRefusal) {
    guard !state.withLock({ $0.isOver }) else { return }
    complete(thread.core.response(to: refusal, requestID))
  }

  func clientLeft() {
    let end = finish { state in
      state.hasLeft = true
      return false
    }
    if end.isFirst { end.whenLeft?() }
  }

  /// Ends it unless that was done. `how` returns whether there is an answer to be sent.
  private func finish(
    _ how: (inout State) -> Bool
  ) -> (isFirst: Bool, isAnswered: Bool, whenLeft: (@Sendable () -> Void)?) {
    state.withLock { state in
      guard !state.isOver else { return (false, false, nil) }
      state.isOver = true
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
