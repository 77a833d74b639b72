import Foundation
import LinuxSupport
import Synchronization
import TestSupport
import Testing

struct DeadlineTimerTests {
  private final class Owned: Sendable {
    let freed: CountingSemaphore
    init(_ freed: CountingSemaphore) { self.freed = freed }
    deinit { freed.signal() }
  }

  private final class Seen: Sendable {
    /// Actions that have run; where a deadline is given, before it.
    let count = Atomic(0)
    let times = Mutex<[UInt64]>([])
  }

  @Test func actionsRunInTheOrderOfTheirDeadlinesAndNotBefore() {
    var generator = SeededGenerator(for: "deadlines")
    // Nothing runs until all are armed.
    let (gate, armed) = (DeadlineTimer(), CountingSemaphore())
    gate.arm(atNS: 0) { armed.wait() }
    let start = MonotonicClock.now()
    let times = (0..<500).map { _ in start + UInt64.random(in: 0..<30_000_000, using: &generator) }
    let (seen, all) = (Seen(), CountingSemaphore())
    let timers = times.map { time in
      let timer = DeadlineTimer()
      timer.arm(atNS: time) {
        if MonotonicClock.now() < time { seen.count.add(1, ordering: .relaxed) }
        seen.times.withLock { $0.append(time) }
        all.signal()
      }
      return timer
    }
    armed.signal()
    for _ in times { all.wait() }
    withExtendedLifetime(timers) {}
    let early = seen.count.load(ordering: .relaxed)
    #expect(early == 0)
    #expect(seen.times.withLock { $0 } == times.sorted())
  }

  @Test func aCancelledTimerFreesItsActionAndDoesNotRunIt() {
    let (freed, seen) = (CountingSemaphore(), Seen())
    let timer = DeadlineTimer()
    do {
      let owned = Owned(freed)
      timer.arm(afterNS: 3_600_000_000_000) {
        withExtendedLifetime(owned) { _ = seen.count.add(1, ordering: .relaxed) }
      }
    }
    timer.cancel()
    freed.wait()
    timer.arm(afterNS: 0) { seen.count.add(1, ordering: .relaxed) }
    // What is armed later for the same moment comes later.
    let after = CountingSemaphore()
    let other = DeadlineTimer()
    other.arm(afterNS: 1) { after.signal() }
    after.wait()
    let early = seen.count.load(ordering: .relaxed)
    #expect(early == 0)
  }

  @Test func aTimerThatIsLetGoOfFreesItsAction() {
    let freed = CountingSemaphore()
    do {
      let owned = Owned(freed)
      DeadlineTimer().arm(afterNS: 3_600_000_000_000) { withExtendedLifetime(owned) {} }
    }
    freed.wait()
  }

  @Test func aNearerDeadlineIsNotHeldUpByAFartherOne() {
    let (far, near, ran) = (DeadlineTimer(), DeadlineTimer(), CountingSemaphore())
    far.arm(afterNS: 3_600_000_000_000) {}
    near.arm(afterNS: 1_000_000) { ran.signal() }
    ran.wait()
    far.cancel()
  }

  @Test func timesBeyondTheClockAreNever() {
    let (never, soon, ran) = (DeadlineTimer(), DeadlineTimer(), CountingSemaphore())
    never.arm(afterNS: .max) { Issue.record("it has run") }
    soon.arm(atNS: 0) { ran.signal() }
    ran.wait()
  }

  /// Each timer either ran or was cancelled in time; its action is freed in either case.
  @Test func cancellingRacesWithRunning() throws {
    let (seen, freed) = (Seen(), CountingSemaphore())
    let (threads, rounds) = (8, 500)
    try OwnThread.run(threads) { number in
      for round in 0..<rounds {
        let timer = DeadlineTimer()
        let owned = Owned(freed)
        timer.arm(afterNS: UInt64((round * 7 + number) % 50) * 1000) {
          withExtendedLifetime(owned) { _ = seen.count.add(1, ordering: .relaxed) }
        }
        if round % 3 != 0 { sched_yield() }
        timer.cancel()
      }
    }
    for _ in 0..<threads * rounds { freed.wait() }
    let ran = seen.count.load(ordering: .relaxed)
    #expect(ran <= threads * rounds)
  }
}
