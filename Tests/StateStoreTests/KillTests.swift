import Foundation
import Glibc
import TestSupport
import Testing

@testable import StateStore

/// A process is killed in the middle of its work, again and again, and every promise it made must hold.
///
/// The process works through operations that follow from a seed, and writes a byte to a file after each that returned.
/// Whoever comes afterwards works out the same operations: the state must be as after those that were promised, or as
/// after one more, which was done when the end came and could not be promised any more.
struct KillTests {
  static let rounds = ProcessInfo.processInfo.environment["VMPOOL_ROUNDS"].flatMap { Int($0) } ?? 30

  @Test func everyPromiseHoldsAfterAKill() async throws {
    var generator = SeededGenerator(for: "everyPromiseHoldsAfterAKill")
    let scratch = try Scratch()
    let directory = scratch.path
    var done = 0
    for round in 1...Self.rounds {
      let seed = UInt64.random(in: 0 ... .max, using: &generator)
      let lifetimeUS = UInt32.random(in: 0...40_000, using: &generator)
      await #expect(processExitsWith: .signal(SIGKILL)) {
        [
          directory = directory as String, round = round as Int, seed = seed as UInt64,
          lifetimeUS = lifetimeUS as UInt32
        ] in
        try KillTests.work(directory, round, seed, lifetimeUS)
      }
      done += try check(directory, round, seed)
    }
    #expect(done > Self.rounds, "the processes were killed before they did anything")
    print("everyPromiseHoldsAfterAKill: \(done) operations in \(Self.rounds) lives")
  }

  /// The life of the process that is killed.
  private static func work(_ directory: String, _ round: Int, _ seed: UInt64, _ lifetimeUS: UInt32) throws {
    let end = {
      Thread.detachNewThread {
        usleep(lifetimeUS)
        kill(getpid(), SIGKILL)
      }
    }
    // In every fourth life the end may come while the state is opened.
    if round.isMultiple(of: 4) { end() }
    let state = try StateDatabase.open(directory: directory)
    if !round.isMultiple(of: 4) { end() }
    // Safe: the path lives for the call.
    let promises = unsafe open(promises(directory, round), O_WRONLY | O_CREAT | O_APPEND, 0o600)
    try #require(promises >= 0)
    var generator = SeededGenerator(seed: seed)
    var expected = Expected(round: round)
    while true {
      let operation = expected.next(&generator)
      try state.perform(operation, requestID: expected.requestID)
      expected.apply(operation)
      // Safe: one byte of a literal.
      try #require(unsafe write(promises, "x", 1) == 1)
    }
  }

  private static func promises(_ directory: String, _ round: Int) -> String { directory + "/promises-\(round)" }

  /// Compares what is there with what was promised; returns how much was.
  private func check(_ directory: String, _ round: Int, _ seed: UInt64) throws -> Int {
    let promised = (try? Data(contentsOf: URL(filePath: Self.promises(directory, round))).count) ?? 0
    var generator = SeededGenerator(seed: seed)
    var before = Expected(round: round)
    for _ in 0..<promised { before.apply(before.next(&generator)) }
    var after = before
    after.apply(before.next(&generator))

    let state = try StateDatabase.open(directory: directory)
    let differences = try [before, after].map { try difference(state, $0) }
    #expect(differences.contains(nil), "round \(round) after \(promised): \(differences.map { $0 ?? "" })")
    state.close()
    return promised
  }

  /// The first thing in which the state is not what is expected.
  private func difference(_ state: StateDatabase, _ expected: Expected) throws -> String? {
    let prefix = "r\(expected.round)-"
    let pools = state.recovered.pools.filter { $0.name.hasPrefix(prefix) }
    guard Dictionary(uniqueKeysWithValues: pools.map { ($0.name, $0.revision) }) == expected.pools else {
      return "pools \(pools), not \(expected.pools)"
    }
    let open = expected.leases.values.filter { $0.end == nil }.sorted { $0.fence < $1.fence }.map(\.id)
    guard state.recovered.lostLeases.map(\.id) == open else { return "lost \(state.recovered.lostLeases), not \(open)" }
    guard state.recovered.highestFence == expected.fence || expected.leases.isEmpty else {
      return "fence \(state.recovered.highestFence), not \(expected.fence)"
    }
    guard try state.lease(id: Sample.id(expected.fence + 1)) == nil else { return "one lease more" }
    for var lease in expected.leases.values {
      let found = try state.lease(id: lease.id)
      if lease.end == nil { lease.end = found?.end?.reason == .lost ? found?.end : nil }
      guard found == lease else { return "\(String(describing: found)), not \(lease)" }
    }
    let audited = try state.audit(after: 0, limit: .max).compactMap(\.entry.requestID).filter { $0.hasPrefix(prefix) }
    guard audited == expected.audited else { return "audited \(audited), not \(expected.audited)" }
    for (key, kept) in expected.keys {
      let found = try state.beginIdempotent(scope: StateDatabase.scope, key: key, fingerprint: [1], nowMS: 0)
      switch kept {
      case .inProgress where found == .interrupted: continue
      case .answered(let response) where found == .replay(response): continue
      default: return "key \(key) \(found), not \(kept)"
      }
    }
    return nil
  }
}
