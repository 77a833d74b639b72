import ComparedKicks
import Dispatch
import Foundation
import LinuxSupport
import Synchronization
import Testing

@testable import VCPURuntime

/// Steps N1 to N3: closures that are called when vCPUs have answered.
@Suite(.serialized, .enabled(if: RealKVM.isAvailable)) struct AnswerNoticeTests {
  private static func threads() throws -> Int {
    try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").count
  }

  @Test func whatHasBeenAnsweredIsToldAtOnce() throws {
    let running = try RunningVCPU(guest: "spin")
    defer { running.close() }
    let ticket = try running.vcpu.request(goal: .run)
    _ = try running.vcpu.wait(for: ticket, untilNS: soon)
    let isCalled = DispatchSemaphore(value: 0)
    let notice = AnswerNotice(whenAnswered: [(running.vcpu, ticket)]) { isCalled.signal() }
    #expect(isCalled.wait(timeout: .now()) == .success)
    #expect(!notice.cancel())
  }

  /// Thousands of waits on a vCPU that does not answer cost no thread. When it answers, each closure that was not given
  /// up is called once, none on the vCPU's thread.
  @Test func waitsOnAStuckVCPUCostNoThread() throws {
    let held = try HeldVCPU()
    defer { held.close() }
    let first = try held.running.vcpu.request(goal: .run)
    let before = try Self.threads()
    let calls = Mutex<[Int: Int]>([:])
    let callers = Mutex<Set<pthread_t>>([])
    let isOver = DispatchSemaphore(value: 0)
    var notices: [AnswerNotice] = []
    for number in 0..<5_000 {
      // Pacing would make 5000 kicks slow: several waits share a request.
      let ticket = number % 100 == 0 ? try held.running.vcpu.request(goal: .run) : first
      notices.append(
        AnswerNotice(whenAnswered: [(held.running.vcpu, ticket)]) {
          calls.withLock { $0[number, default: 0] += 1 }
          callers.withLock { _ = $0.insert(pthread_self()) }
          if number == 4_999 { isOver.signal() }
        })
    }
    // Other tests begin and end threads meanwhile, but not so many.
    #expect(try Self.threads() < before + 1000)
    for number in stride(from: 0, to: 5_000, by: 3) { #expect(notices[number].cancel()) }
    // Letting go of a notice cancels it.
    notices.removeSubrange(1..<2)
    #expect(calls.withLock { $0 } == [:])
    held.letGo()
    #expect(isOver.wait(timeout: .now() + 30) == .success)
    try waitUntil("all have been called") { calls.withLock { $0.count } == 3_332 }
    #expect(calls.withLock { $0.values.allSatisfy { $0 == 1 } })
    #expect(calls.withLock { calls in calls.keys.allSatisfy { $0 % 3 != 0 && $0 != 1 } })
    #expect(callers.withLock { $0.count == 1 && !$0.contains(held.thread) && !$0.contains(pthread_self()) })
  }

  /// The end answers every request that came before it.
  @Test func aVCPUThatEndsAnswersEverything() throws {
    let held = try HeldVCPU()
    let isCalled = DispatchSemaphore(value: 0)
    let notice = AnswerNotice(whenAnswered: [(held.running.vcpu, try held.running.vcpu.request())]) {
      isCalled.signal()
    }
    Thread.detachNewThread { held.running.close() }
    #expect(isCalled.wait(timeout: .now()) == .timedOut)
    held.letGo()
    #expect(isCalled.wait(timeout: .now() + 30) == .success)
    #expect(!notice.cancel())
    try waitUntil("it has ended") { (try? held.running.vcpu.request()) == nil }
  }

  /// A notice of two vCPUs waits for both, whichever answers first.
  @Test(arguments: [0, 1]) func aNoticeWaitsForEveryVCPU(_ first: Int) throws {
    let held = [try HeldVCPU(), try HeldVCPU()]
    defer { for each in held { each.close() } }
    let isCalled = DispatchSemaphore(value: 0)
    let requests = try held.map { (vcpu: $0.running.vcpu, ticket: try $0.running.vcpu.request()) }
    let notice = AnswerNotice(whenAnswered: requests) { isCalled.signal() }
    held[first].letGo()
    _ = try requests[first].vcpu.wait(for: requests[first].ticket, untilNS: soon)
    // It is not called before the other one answers: it would be, by now or never, if it had not waited for that.
    #expect(isCalled.wait(timeout: .now()) == .timedOut)
    held[1 - first].letGo()
    #expect(isCalled.wait(timeout: .now() + 30) == .success)
    #expect(!notice.cancel())
  }

  /// An answer to an earlier request takes the notifier's mark away: its scan sets it anew for those who still wait. The
  /// vCPU's thread is held while it serves either request, so that nothing else could do so.
  @Test func theNotifierGoesOnWaitingAfterAnEarlierAnswer() throws {
    let running = try RunningVCPU(guest: "spin")
    defer { running.close() }
    let errands = HeldErrands()
    defer { errands.letGo(4) }
    for _ in 0..<20 {
      let first = try errands.request(of: running.vcpu)
      try errands.waitForEntry()
      let second = try errands.request(of: running.vcpu)
      let isCalled = DispatchSemaphore(value: 0)
      let notice = AnswerNotice(whenAnswered: [(running.vcpu, second)], resends: false) { isCalled.signal() }
      errands.letGo()
      _ = try running.vcpu.wait(for: first, untilNS: soon, resends: false)
      try errands.waitForEntry()
      try waitUntil("the notifier waits again") { running.vcpu.control.served.wantsNotice }
      #expect(isCalled.wait(timeout: .now()) == .timedOut)
      errands.letGo()
      try #require(isCalled.wait(timeout: .now() + 30) == .success)
      #expect(!notice.cancel())
    }
  }

  /// No answer is missed: kickers that never block on the vCPU, some of whom give up, against a vCPU that answers them
  /// all. Nothing is sent again and nothing looks again, so a notice that is lost stays lost.
  @Test(arguments: ComparedMechanism.sound) func noNoticeIsLost(_ mechanism: ComparedMechanism) throws {
    let running = try RunningVCPU(guest: "pio", mechanism: mechanism)
    defer { running.close() }
    try running.become(.run)
    let wrong = Mutex<[String]>([])
    let kickers = startThreads(4) { kicker in
      for round in 0..<1_000 {
        guard let ticket = try? running.vcpu.request(goal: .run) else { return }
        let calls = Atomic(0)
        let isCalled = DispatchSemaphore(value: 0)
        let notice = AnswerNotice(whenAnswered: [(running.vcpu, ticket)], resends: false) {
          calls.add(1, ordering: .relaxed)
          isCalled.signal()
        }
        let gaveUp = (kicker + round) % 5 == 0 && notice.cancel()
        if !gaveUp, isCalled.wait(timeout: .now() + 30) == .timedOut {
          wrong.withLock { $0.append("kicker \(kicker) was not called for \(ticket.generation)") }
          return
        }
        if calls.load(ordering: .relaxed) != (gaveUp ? 0 : 1) {
          wrong.withLock { $0.append("kicker \(kicker) was called \(calls.load(ordering: .relaxed)) times") }
        }
      }
    }
    kickers.wait()
    #expect(wrong.withLock { $0 } == [])
    try running.expectAgreementWithKernel()
  }
}
