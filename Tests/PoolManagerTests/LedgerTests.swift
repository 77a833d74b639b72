import Foundation
import GuestImages
import TestSupport
import Testing

@testable import PoolManager

/// The ledger at random: no client ever gets what another has, nothing is lost, no limit is exceeded.
@Suite struct LedgerSimulationTests {
  /// Operations in all; VMPOOL_LEDGER_OPERATIONS for more.
  static let operations =
    ProcessInfo.processInfo.environment["VMPOOL_LEDGER_OPERATIONS"].flatMap { Int($0) } ?? 1_000_000

  @Test(arguments: 0..<4) func holdsItsPromises(_ worker: Int) {
    let base = SeededGenerator.seed(of: "ledger simulation \(worker)")
    let length = 2000
    var (grants, refusals, ends, resets) = (0, 0, 0, 0)
    for round in 0..<max(1, Self.operations / 4 / length) {
      let seed = base &+ UInt64(round) &* 1_000_003
      var simulation = LedgerSimulation(seed: seed)
      for step in 0..<length {
        simulation.makeRandomEvent()
        guard simulation.violations.isEmpty else {
          Issue.record("seed \(seed), step \(step): \(simulation.violations)")
          return
        }
      }
      simulation.comeToRest()
      guard simulation.violations.isEmpty else {
        Issue.record("seed \(seed), at rest: \(simulation.violations)")
        return
      }
      grants += simulation.grants
      refusals += simulation.refusals
      ends += simulation.ends
      resets += simulation.resets
    }
    // A simulation in which nothing happens proves nothing.
    #expect(grants > 0 && refusals > 0 && ends > 0 && resets > 0, "seed \(base)")
  }
}
