import Foundation
import LinuxSupport
import Synchronization
import TestSupport
import Testing

struct WorkerPoolTests {
  private final class Tally: Sendable {
    let count = Atomic(0)
    let order = Mutex<[Int]>([])
  }

  private final class Names: Sendable {
    let all = Mutex<Set<String>>([])
  }

  @Test func everythingThatWasTakenHasRunWhenStopReturns() throws {
    let tally = Tally()
    let pool = WorkerPool(name: "tally", threads: 4, queueLimit: .max - 4)
    try OwnThread.run(8) { _ in
      for _ in 0..<1000 { try? pool.submit { tally.count.add(1, ordering: .relaxed) } }
    }
    pool.stop()
    let count = tally.count.load(ordering: .relaxed)
    #expect(count == 8000)
    #expect(throws: WorkerPool.Refusal.stopped) { try pool.submit {} }
  }

  @Test func whatIsBeyondTheQueueIsRefused() throws {
    let pool = WorkerPool(name: "full", threads: 2, queueLimit: 3)
    let (begun, held) = (CountingSemaphore(), CountingSemaphore())
    for _ in 0..<2 {
      try pool.submit {
        begun.signal()
        held.wait()
      }
    }
    for _ in 0..<2 { begun.wait() }
    for _ in 0..<3 { try pool.submit { held.wait() } }
    #expect(throws: WorkerPool.Refusal.full) { try pool.submit {} }
    #expect(pool.load.queued == 3 && pool.load.running == 2)
    for _ in 0..<5 { held.signal() }
    pool.stop()
    #expect(pool.load.queued == 0 && pool.load.running == 0)
  }

  @Test func withoutAQueueThereIsAPlaceForEachThread() throws {
    let pool = WorkerPool(name: "direct", threads: 2, queueLimit: 0)
    let held = CountingSemaphore()
    for _ in 0..<2 { try pool.submit { held.wait() } }
    #expect(throws: WorkerPool.Refusal.full) { try pool.submit {} }
    for _ in 0..<2 { held.signal() }
    pool.stop()
  }

  @Test func workBeginsInTheOrderInWhichItCame() throws {
    let tally = Tally()
    let pool = WorkerPool(name: "ordered", threads: 1, queueLimit: 5000)
    for number in 0..<5000 { try pool.submit { tally.order.withLock { $0.append(number) } } }
    pool.stop()
    #expect(tally.order.withLock { $0 } == Array(0..<5000))
  }

  @Test func threadsHaveTheirPoolsName() throws {
    let pool = WorkerPool(name: "twelve-chars", threads: 2, queueLimit: 0)
    let names = Names()
    let (told, held) = (CountingSemaphore(), CountingSemaphore())
    for _ in 0..<2 {
      try pool.submit {
        let name = try? String(contentsOfFile: "/proc/thread-self/comm", encoding: .utf8)
        names.all.withLock { _ = $0.insert(name?.trimmingCharacters(in: .newlines) ?? "") }
        told.signal()
        held.wait()
      }
    }
    for _ in 0..<2 { told.wait() }
    for _ in 0..<2 { held.signal() }
    pool.stop()
    #expect(names.all.withLock { $0 } == ["twelve-chars-0", "twelve-chars-1"])
  }

  @Test func threadsStartOnlyWhenTheyAreNeeded() throws {
    let pool = WorkerPool(name: "lazy", threads: 8, queueLimit: 8)
    let names = Names()
    let done = CountingSemaphore()
    for _ in 0..<100 {
      try pool.submit {
        let name = try? String(contentsOfFile: "/proc/thread-self/comm", encoding: .utf8)
        names.all.withLock { _ = $0.insert(name ?? "") }
        done.signal()
      }
      done.wait()
      try waitUntil("its thread is idle") { pool.load.running == 0 }
    }
    pool.stop()
    #expect(names.all.withLock { $0.count } == 1)
  }

  @Test func aPoolThatIsLetGoOfRunsWhatItHas() throws {
    let ran = CountingSemaphore()
    do {
      let pool = WorkerPool(name: "dropped", threads: 1, queueLimit: 10)
      for _ in 0..<10 { try pool.submit { ran.signal() } }
    }
    for _ in 0..<10 { ran.wait() }
  }

  @Test func stoppingAPoolThatWasNeverUsed() {
    WorkerPool(name: "unused", threads: 1, queueLimit: 1).stop()
  }
}
