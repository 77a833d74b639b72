import HTTPServer
import LinuxSupport
import Synchronization
import Testing

@testable import ManagementAPI

@Suite struct WaitingTests {
  /// What a task of its own makes of a wait.
  private final class Watcher: Sendable {
    enum Seen: Equatable { case value(Int), expired, refused, left }
    private let seen = Mutex<Seen?>(nil)
    private let isOver = CountingSemaphore()
    private let task = Mutex<Task<Void, Never>?>(nil)

    init(_ waiting: Waiting<Int>, untilNS: UInt64? = nil, within load: HTTPLoad? = nil) {
      let task = Task(executorPreference: InlineExecutor.shared) {
        let outcome: Seen =
          switch await waiting.outcome(untilNS: untilNS, within: load) {
          case .happened(let value): .value(value)
          case .expired: .expired
          case .refused: .refused
          case .left: .left
          }
        self.seen.withLock { $0 = outcome }
        self.isOver.signal()
      }
      self.task.withLock { $0 = task }
    }

    /// What it has seen without waiting.
    var now: Seen? { seen.withLock { $0 } }

    func cancel() { task.withLock { $0 }?.cancel() }

    func result() -> Seen? {
      isOver.wait()
      return now
    }
  }

  @Test func whatHasHappenedBeforeIsNotWaitedFor() {
    let waiting = Waiting<Int>()
    #expect(waiting.happened(1))
    #expect(Watcher(waiting).now == .value(1))
  }

  @Test func theOperationGoesOnInsideTheCallThatEndsItsWait() {
    let waiting = Waiting<Int>()
    let watcher = Watcher(waiting)
    #expect(watcher.now == nil)
    #expect(waiting.happened(1))
    #expect(watcher.now == .value(1))
    #expect(!waiting.happened(2))
  }

  @Test(arguments: [0, 5_000_000]) func aDeadlineEndsIt(_ delayNS: UInt64) {
    let waiting = Waiting<Int>()
    let deadlineNS = MonotonicClock.now() + delayNS
    #expect(Watcher(waiting, untilNS: deadlineNS).result() == .expired)
    #expect(MonotonicClock.now() >= deadlineNS)
    #expect(!waiting.happened(1))
  }

  @Test func itIsRefusedWhereAsManyWaitAsMay() {
    let waiting = Waiting<Int>()
    #expect(Watcher(waiting, within: HTTPLoad(waitingLimit: 0)).now == .refused)
    #expect(!waiting.happened(1))
    // What needs no wait is not refused.
    let happened = Waiting<Int>()
    #expect(happened.happened(1))
    #expect(Watcher(happened, within: HTTPLoad(waitingLimit: 0)).now == .value(1))
  }

  @Test func aClientThatLeavesEndsIt() {
    let waiting = Waiting<Int>()
    let watcher = Watcher(waiting, untilNS: .max)
    watcher.cancel()
    #expect(watcher.result() == .left)
    #expect(!waiting.happened(1))
  }

  @Test func aTaskThatIsCancelledAlreadyDoesNotWait() {
    let waiting = Waiting<Int>()
    let first = Waiting<Int>()
    let isOver = CountingSemaphore()
    let hasLeft = Mutex(false)
    let task = Task(executorPreference: InlineExecutor.shared) {
      _ = await first.outcome()
      if case .left = await waiting.outcome() { hasLeft.withLock { $0 = true } }
      isOver.signal()
    }
    task.cancel()
    isOver.wait()
    #expect(hasLeft.withLock { $0 })
  }

  /// Either it happened or the client left: the one who is told so has it to itself.
  @Test func happeningRacesWithLeaving() throws {
    for round in 0..<2000 {
      let waiting = Waiting<Int>()
      let watcher = Watcher(waiting, untilNS: MonotonicClock.now() + UInt64(round % 7) * 10_000)
      let ready = CountingSemaphore()
      let thread = try JoinableThread(stackBytes: 256 << 10, name: "canceller") {
        ready.wait()
        watcher.cancel()
      }
      ready.signal()
      let hasHappened = waiting.happened(round)
      #expect((watcher.result() == .value(round)) == hasHappened)
      thread.join()
    }
  }

  /// What has ended is not kept until its deadline.
  @Test func endingLetsGo() {
    final class Owned: Sendable {
      let freed: CountingSemaphore
      init(_ freed: CountingSemaphore) { self.freed = freed }
      deinit { freed.signal() }
    }
    let freed = CountingSemaphore()
    do {
      let waiting = Waiting<Owned>()
      Task(executorPreference: InlineExecutor.shared) {
        _ = await waiting.outcome(untilNS: MonotonicClock.now() + 3_600_000_000_000)
      }
      waiting.happened(Owned(freed))
    }
    freed.wait()
  }
}
