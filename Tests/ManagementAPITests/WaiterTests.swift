import Dispatch
import HTTPServer
import LinuxSupport
import Synchronization
import Testing

@testable import ManagementAPI

/// What a waiter completes, without a connection behind it.
final class StubResponder: Completable {
  private struct State {
    var response: HTTPResponse?
    var isSettled = false
    var whenLeft: (@Sendable () -> Void)?
  }

  private let state = Mutex(State())
  private let settled = DispatchSemaphore(value: 0)

  func complete(_ response: HTTPResponse) -> Bool {
    let isFirst = state.withLock { state in
      if state.isSettled { return false }
      state.isSettled = true
      state.response = response
      return true
    }
    if isFirst { settled.signal() }
    return isFirst
  }

  func whenClientLeaves(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.whenLeft = body } }

  func leave() {
    let whenLeft = state.withLock { state in
      state.isSettled = true
      return state.whenLeft.take()
    }
    whenLeft?()
  }

  /// Waits for the answer.
  func response() -> HTTPResponse? {
    guard settled.wait(timeout: .now() + 30) == .success else { return nil }
    settled.signal()
    return state.withLock { $0.response }
  }

  func waiter(_ api: APIHandler) -> Waiter {
    Waiter(self, requestID: "test-1", label: "/template", progress: Waiter.Progress(api))
  }

  /// The answer to a request that waits.
  static func answer(_ api: APIHandler, _ requestID: String, _ start: (Waiter) -> Void) -> HTTPResponse {
    let responder = StubResponder()
    start(Waiter(responder, requestID: requestID, label: nil, progress: Waiter.Progress(api)))
    return responder.response() ?? HTTPResponse(status: 599)
  }
}

@Suite struct WaiterTests {
  private let harness = Harness(factory: StubFactory())
  private let responder = StubResponder()
  private var api: APIHandler { harness.api }

  @Test func theFirstCompletionCounts() {
    let waiter = responder.waiter(api)
    #expect(api.answersInProgress == 1)
    #expect(waiter.complete { .noContent })
    #expect(api.answersInProgress == 0)
    #expect(!waiter.complete { HTTPResponse(status: 200) })
    #expect(!waiter.fail(.draining))
    #expect(responder.response()?.status == 204)
    #expect(responder.response()?.label == "/template")
    #expect(api.answersInProgress == 0)
  }

  @Test func problemsAreMapped() throws {
    #expect(responder.waiter(api).fail(.draining))
    let reply = Reply(try #require(responder.response()))
    reply.checkCommonRules(#_sourceLocation)
    #expect(reply.status == 503)
    #expect(reply.problem?.kind == "draining")
  }

  @Test func thoseWhoLeaveWaitNoMore() {
    let waiter = responder.waiter(api)
    let hasLeft = Atomic(0)
    waiter.whenClientLeaves { hasLeft.add(1, ordering: .relaxed) }
    waiter.expire(atNS: MonotonicClock.now() + 1_000_000_000_000) { .noContent }
    responder.leave()
    #expect(hasLeft.load(ordering: .relaxed) == 1)
    #expect(api.answersInProgress == 0)
    #expect(!waiter.complete { .noContent })
    #expect(api.answersInProgress == 0)
  }

  @Test func droppedWaitersAreNotCounted() {
    _ = responder.waiter(api)
    #expect(api.answersInProgress == 0)
  }

  @Test(arguments: [0, 20_000_000]) func deadlinesAnswer(_ delayNS: UInt64) {
    let waiter = responder.waiter(api)
    let deadlineNS = MonotonicClock.now() + delayNS
    waiter.expire(atNS: deadlineNS) { HTTPResponse(status: 202) }
    #expect(responder.response()?.status == 202)
    #expect(MonotonicClock.now() >= deadlineNS)
    #expect(!waiter.complete { .noContent })
  }

  /// What is completed is not kept until its deadline, in whichever order that comes about.
  @Test(arguments: [false, true]) func deadlinesLetGo(_ isCompletedBefore: Bool) {
    weak var kept: Waiter?
    do {
      let waiter = responder.waiter(api)
      kept = waiter
      if isCompletedBefore { waiter.complete { .noContent } }
      waiter.expire(atNS: MonotonicClock.now() + 1_000_000_000_000) { .noContent }
      waiter.complete { .noContent }
    }
    // Dispatch lets go on its own thread.
    let end = MonotonicClock.now() + 20_000_000_000
    while kept != nil, MonotonicClock.now() < end {}
    #expect(kept == nil)
  }
}
