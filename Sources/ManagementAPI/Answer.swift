import HTTPServer
import LinuxSupport
import Synchronization

/// How an operation answers.
enum Answer: Sendable {
  /// At once.
  case now(HTTPResponse)
  /// After work that takes a thread for longer than an HTTP thread may be kept.
  case later(Lane, @Sendable () throws(APIProblem) -> HTTPResponse)
  /// When something happens: whoever sees it happen completes the waiter. Meanwhile it costs no thread. The closure runs
  /// on the HTTP thread, before the connection is suspended; completing the waiter there answers at once.
  case suspended(@Sendable (Waiter) -> Void)
  /// Piece by piece; see `HTTPReply.stream`.
  case stream(HTTPResponse, @Sendable (HTTPStream) -> Void)
}

/// A request that waits for something to happen.
///
/// Completed once, from any thread: by its answer, by its deadline, or because its client left. A waiter that is
/// dropped without completion answers 500.
final class Waiter: Sendable {
  private let responder: any Completable
  private let requestID: String
  private let label: String?
  private let progress: Progress
  private let timer = DeadlineTimer()

  init(_ responder: any Completable, requestID: String, label: String?, progress: Progress) {
    self.responder = responder
    self.requestID = requestID
    self.label = label
    self.progress = progress
  }

  deinit { progress.end() }

  /// A waiter for the same request that answers through another responder.
  func derived(_ make: (any Completable) -> any Completable) -> Waiter {
    Waiter(make(responder), requestID: requestID, label: label, progress: progress)
  }

  /// Answers. Never blocks on the client. False when nobody waits any more, so that what was to be handed over can go
  /// back: answered or expired before, the client gone, or the server stopped. True does not promise that the client
  /// gets it.
  @discardableResult
  func complete(_ answer: () throws(APIProblem) -> HTTPResponse) -> Bool {
    var response = APIHandler.response(requestID, of: answer)
    response.label = label
    let isFirst = responder.complete(response)
    timer.cancel()
    progress.end()
    return isFirst
  }

  /// Does what may end in an answer, or (nil) in one that is yet to come.
  func completeNow(_ body: () throws(APIProblem) -> HTTPResponse?) {
    do throws(APIProblem) {
      if let response = try body() { complete { () throws(APIProblem) in response } }
    } catch {
      fail(error)
    }
  }

  /// Answers with a problem; else as above.
  @discardableResult
  func fail(_ problem: APIProblem) -> Bool {
    complete { () throws(APIProblem) in throw problem }
  }

  /// Has `body` called once, on any thread, if the client leaves before the answer; at once if it has left. It must not
  /// block, nor hold the waiter. See `HTTPResponder.whenClientLeaves`.
  func whenClientLeaves(_ body: @escaping @Sendable () -> Void) {
    responder.whenClientLeaves { [progress, timer] in
      progress.end()
      timer.cancel()
      body()
    }
  }

  /// Has the waiter completed with `answer` at a time (CLOCK_MONOTONIC), on a thread shared by all deadlines, unless it
  /// was before. Once a waiter. The deadline keeps the waiter until then.
  func expire(atNS deadlineNS: UInt64, _ answer: @escaping @Sendable () throws(APIProblem) -> HTTPResponse) {
    let now = MonotonicClock.now()
    timer.arm(afterNS: deadlineNS > now ? deadlineNS - now : 0) { self.complete(answer) }
    // It may have been completed meanwhile.
    if progress.hasEnded { timer.cancel() }
  }

  /// That an answer is being worked on, until it is there or nobody wants it; counted once.
  final class Progress: Sendable {
    private let counter: APIHandler
    /// Whoever sets it takes the count back; nothing else is handed over with it: relaxed.
    private let ended = Atomic(false)

    init(_ counter: APIHandler) {
      self.counter = counter
      counter.answerBegun()
    }

    var hasEnded: Bool { ended.load(ordering: .relaxed) }

    func end() {
      if !ended.exchange(true, ordering: .relaxed) { counter.answerEnded() }
    }
  }
}

/// The right to answer one request; `HTTPResponder` but in tests.
protocol Completable: Sendable {
  func complete(_ response: HTTPResponse) -> Bool
  func whenClientLeaves(_ body: @escaping @Sendable () -> Void)
}

extension HTTPResponder: Completable {}
