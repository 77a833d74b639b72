import MachineRuntime
import Testing

@testable import PoolManager

/// When a VM whose lease has ended is reset, and what becomes of it then.
@Suite struct ResetLedgerTests {
  private static func specification(
    image: String = "spin", maxVMs: Int? = 1, resets: Bool = true, ready: Int = 1
  ) -> PoolSpecification {
    LedgerHost.specification(ready...ready, image: image, maxVMs: maxVMs, readyPoint: .started, resets: resets)
  }

  /// A pool of one VM, which is leased.
  private func leased(
    _ specification: PoolSpecification = specification()
  ) throws -> (host: LedgerHost, lease: Ledger.LeaseGrant) {
    let host = LedgerHost(FleetLimits(creations: 4))
    try host.declare("p", specification)
    host.finishAllWork()
    let lease = try #require(try host.lease("p"))
    return (host, lease)
  }

  @Test func aVMComesBackUnderAnotherNameAndIsLeasedAgain() throws {
    let (host, lease) = try leased()
    host.end(lease.id)
    #expect(host.resetting == [lease.vm] && host.retiring.isEmpty && host.creations.isEmpty)
    #expect(try host.pool("p").resetting == 1 && host.pool("p").total == 1 && host.ledger.budget.vms == 2)
    let vm = try #require(host.reset())
    #expect(vm != lease.vm && host.ledger.vms[lease.vm] == nil)
    #expect(try host.pool("p").ready.count == 1 && host.pool("p").resetting == 0)
    let next = try #require(try host.lease("p"))
    #expect(next.vm == vm && next.fence > lease.fence)
  }

  /// Of two to four ready VMs, two may be away before another is made. What comes back is reset.
  @Test func aPoolCountsOnItsLeasedVMsToComeBack() throws {
    let host = LedgerHost(FleetLimits(creations: 4))
    try host.declare("p", LedgerHost.specification(2...4, readyPoint: .started, resets: true))
    host.finishAllWork()
    #expect(try host.pool("p").ready.count == 4)
    let leases = try (0..<2).map { _ in try #require(try host.lease("p")) }
    #expect(host.creations.isEmpty)
    let third = try #require(try host.lease("p"))
    #expect(host.creations.count == 1)
    host.finishAllWork()
    #expect(try host.pool("p").ready.count == 2)
    for lease in leases { host.end(lease.id) }
    #expect(host.resetting.count == 2)
    while host.reset() != nil {}
    #expect(try host.pool("p").ready.count == 4)
    // By now the pool has its fill.
    host.end(third.id)
    #expect(host.resetting.isEmpty && host.retiring == [third.vm])
  }

  @Test func whoWaitsGetsTheVMThatWasReset() throws {
    let (host, lease) = try leased()
    #expect(try host.lease("p", wait: 1_000_000_000) == nil)
    host.end(lease.id)
    let vm = host.reset()
    #expect(host.ledger.leases.values.map(\.vm) == [try #require(vm)])
  }

  @Test func anExpiredLeaseIsFollowedByAReset() throws {
    let (host, lease) = try leased()
    host.pass(60_000_000_000)
    #expect(host.resetting == [lease.vm])
  }

  /// Each of these pools has no use for the VM.
  @Test(arguments: [
    specification(resets: false), specification(maxVMs: nil), LedgerHost.specification(1...1, maxVMs: 1),
  ])
  func aVMThatIsOfNoUseIsReplaced(specification: PoolSpecification) throws {
    let (host, lease) = try leased(specification)
    host.finishAllWork()
    host.end(lease.id)
    #expect(host.resetting.isEmpty && host.retiring == [lease.vm])
  }

  @Test func aVMOfAnOlderTemplateIsReplaced() throws {
    let (host, lease) = try leased()
    try host.declare("p", Self.specification(image: "hello"))
    host.end(lease.id)
    #expect(host.resetting.isEmpty && host.retiring == [lease.vm])
  }

  @Test func aDeclarationDuringTheResetMakesItsVMOfNoUse() throws {
    let (host, lease) = try leased()
    host.end(lease.id)
    try host.declare("p", Self.specification(image: "hello"))
    #expect(host.reset() == nil)
    #expect(try host.pool("p").retiring == 1 && host.pool("p").resetting == 0)
    host.finishAllWork()
    #expect(try host.pool("p").ready.count == 1 && host.ledger.budget.vms == 2)
  }

  /// Only how VMs come back has changed.
  @Test func anotherOnReleaseMakesNoNewTemplate() throws {
    let (host, lease) = try leased()
    try host.declare("p", Self.specification(resets: false))
    #expect(host.creations.isEmpty)
    host.end(lease.id)
    #expect(host.resetting.isEmpty)
  }

  @Test func aResetThatFailsIsFollowedByAnotherVM() throws {
    let (host, lease) = try leased()
    host.end(lease.id)
    #expect(host.reset(works: false) == nil)
    #expect(try host.pool("p").retiring == 1 && host.pool("p").deficit == 1)
    host.finishAllWork()
    #expect(try host.pool("p").ready.count == 1)
  }

  /// A vCPU that cannot be brought to a stand is never reset.
  @Test func aVMThatDoesNotStandStillIsQuarantinedAndNeverComesBack() throws {
    let (host, lease) = try leased()
    host.end(lease.id)
    host.ledger.quarantined(lease.vm, now: host.now)
    #expect(try host.pool("p").quarantined == 1 && host.pool("p").resetting == 0)
    #expect(host.reset() == nil)
    #expect(try host.pool("p").quarantined == 1)
    #expect(host.retire())
    #expect(try host.pool("p").quarantined == 0)
  }

  @Test func noClientFindsAVMThatIsBeingReset() throws {
    let (host, lease) = try leased()
    host.end(lease.id)
    #expect(!host.take(lease.vm) && !host.delete(lease.vm))
    #expect(host.ledger.vms[lease.vm]?.phase == .resetting)
  }

  @Test func aVMThatAClientDeletesIsNotReset() throws {
    let (host, lease) = try leased()
    #expect(host.delete(lease.vm))
    host.act()
    #expect(host.resetting.isEmpty && host.ledger.vms[lease.vm]?.phase == .retiring)
  }

  @Test func aDeletedPoolWaitsForItsResets() throws {
    let (host, lease) = try leased()
    host.end(lease.id)
    let key = try host.ledger.delete(pool: "p", force: true, now: host.now).key
    host.act()
    #expect(!host.news().contains(.gone(key)))
    #expect(host.reset() == nil)
    #expect(host.retire())
    #expect(host.news().contains(.gone(key)) && host.ledger.budget == HostBudget(limits: host.ledger.limits))
  }

  @Test func nothingIsResetAtTheServersEnd() throws {
    let (host, lease) = try leased()
    host.ledger.close()
    host.end(lease.id)
    #expect(host.resetting.isEmpty && host.retiring == [lease.vm])
  }

  /// A lease that is not on record yet, and ends: its place is the VM's own.
  @Test func aLeaseThatWasNeverOnRecordCountsOnce() throws {
    let host = LedgerHost()
    try host.declare("p", Self.specification(maxVMs: nil))
    host.finishAllWork()
    let lease = try #require(try host.lease("p", confirmed: false))
    #expect(host.creations.isEmpty)
    host.end(lease.id)
    #expect(host.resetting == [lease.vm] && host.creations.isEmpty)
  }
}
