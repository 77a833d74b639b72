import Foundation
import Synchronization
import Testing

@testable import StateStore

/// Eight threads at once, with checkpoints and pruning between them.
struct ConcurrencyTests {
  @Test(arguments: [false, true]) func threadsDoNotDisturbEachOther(onDisk: Bool) throws {
    let scratch = try Scratch()
    let rounds = 100
    var limits = StateLimits()
    limits.endedLeases = 50
    let state = try StateDatabase.open(directory: onDisk ? scratch.path : nil, limits: limits)
    let failures = Mutex<[String]>([])
    DispatchQueue.concurrentPerform(iterations: 8) { thread in
      do {
        for round in 0..<rounds { try use(state, thread, round) }
      } catch {
        failures.withLock { $0.append("\(error)") }
      }
    }
    #expect(failures.withLock { $0 } == [])
    #expect(state.flushError == nil)
    // Grants, ends and pools of six threads.
    let records = try state.audit(after: 0, limit: 10_000)
    #expect(records.map(\.sequence) == Array(1...6 * 3 * rounds))
    state.close()
    guard onDisk else { return }
    let recovered = try StateDatabase.open(directory: scratch.path).recovered
    #expect(recovered.lostLeases.isEmpty)
    #expect(recovered.highestFence == 5 * 1000 + rounds - 1)
    #expect(recovered.pools.map(\.revision) == Array(repeating: rounds, count: 6))
  }

  private func use(_ state: StateDatabase, _ thread: Int, _ round: Int) throws {
    switch thread {
    case 6: state.flush(logLimit: [0, 10, .max][round % 3])
    case 7: try state.prune(nowMS: 2000)
    default:
      let id = Sample.id(thread * 1000 + round)
      try state.recordLease(
        Sample.lease(id, fence: thread * 1000 + round), by: "127.0.0.1", requestID: nil)
      try state.extendLease(id: id, expiresAtMS: round, audit: nil)
      #expect(try state.lease(id: id)?.expiresAtMS == round)
      #expect(try state.beginIdempotent(scope: "s", key: id, fingerprint: [], nowMS: 0) == .new)
      try state.finishIdempotent(scope: "s", key: id, StoredResponse(status: 200, headers: [], body: []))
      let end = StoredLeaseEnd(reason: .released, atMS: 1500 + round)
      try state.endLeases([(id, end, Sample.audit("lease.end", id))])
      let pool = "p-\(thread)"
      try state.putPool(name: pool, document: [], revision: round + 1, audit: Sample.audit("pool.put", pool))
    }
  }

  /// The same number is never in two hands: of many that begin with one key, one is first.
  @Test func oneOfManyIsFirst() throws {
    let state = try StateDatabase.open(directory: nil)
    let outcomes = Mutex<[IdempotencyOutcome]>([])
    DispatchQueue.concurrentPerform(iterations: 8) { _ in
      for key in 0..<50 {
        let outcome = try? state.beginIdempotent(scope: "s", key: "\(key)", fingerprint: [], nowMS: 0)
        if let outcome { outcomes.withLock { $0.append(outcome) } }
      }
    }
    let all = outcomes.withLock { $0 }
    #expect(all.count == 400)
    #expect(all.count { $0 == .new } == 50)
    #expect(all.count { $0 == .inProgress } == 350)
  }

  /// Clients that lease and release without a pause never leave the log a moment in which it is wholly moved.
  @Test(arguments: [1, 4]) func theLogStaysBoundedUnderASteadyLoad(clients: Int) throws {
    let scratch = try Scratch()
    var limits = StateLimits()
    limits.logPages = 512
    let state = try StateDatabase.open(directory: scratch.path, limits: limits)
    // Each page of 1 KiB has a header of 24 bytes in the log. One transaction may begin just below the bound, and room is
    // set aside ahead of what is written.
    let bound = (2 * limits.logPages + LogRoom.ahead) * (1024 + 24) + 64 * 1024
    let failures = Mutex<[String]>([])
    let largest = Atomic(0)
    DispatchQueue.concurrentPerform(iterations: clients) { client in
      do {
        for round in 1...4000 {
          let id = Sample.id(client << 32 | round)
          try state.recordLease(Sample.lease(id, fence: round), by: "127.0.0.1", requestID: nil)
          let end = StoredLeaseEnd(reason: .released, atMS: round)
          try state.endLeases([(id, end, Sample.audit("lease.end", id))])
          guard round % 50 == 0 else { continue }
          let size = try FileManager.default.attributesOfItem(atPath: scratch.database + "-wal")[.size] as? Int ?? 0
          largest.max(size, ordering: .relaxed)
        }
      } catch {
        failures.withLock { $0.append("\(error)") }
      }
    }
    #expect(failures.withLock { $0 } == [])
    #expect(largest.load(ordering: .relaxed) <= bound)
    #expect(state.flushError == nil)
  }
}
