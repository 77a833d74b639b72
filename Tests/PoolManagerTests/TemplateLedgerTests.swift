import MachineRuntime
import Testing

@testable import PoolManager

/// When templates are made and let go of, and what waits for them.
@Suite struct TemplateLedgerTests {
  @Test func theTemplateComesFirstAndCountsInTheHostNotInThePool() throws {
    let host = LedgerHost(FleetLimits(creations: 4))
    try host.declare("p", LedgerHost.specification(2...2, maxVMs: 2, readyPoint: .started))
    #expect(host.creations.map { $0.boot?.point } == [.started])
    #expect(host.ledger.budget.vms == 1 && host.ledger.creationsInFlight == 0)
    #expect(host.create() == nil)
    #expect(host.boot() == true)
    #expect(host.creations.count == 2 && host.creations.allSatisfy { $0.boot == nil })
    host.finishAllWork()
    #expect(try host.pool("p").ready.count == 2 && host.ledger.budget.vms == 3)
    _ = try host.ledger.delete(pool: "p", force: true, now: host.now)
    host.act()
    host.finishAllWork()
    #expect(host.ledger.budget == HostBudget(limits: host.ledger.limits))
  }

  /// A boot that takes long keeps no other pool from its VMs.
  @Test func aBootOccupiesNoPlaceAmongTheCreations() throws {
    let host = LedgerHost(FleetLimits(creations: 1))
    try host.declare("slow", LedgerHost.specification(1...1, readyPoint: .console("login:")))
    try host.declare("quick", LedgerHost.specification(1...1))
    #expect(host.create() == "quick")
  }

  @Test func aPoolThatKeepsNoneBootsItsTemplateAllTheSame() throws {
    let host = LedgerHost()
    try host.declare("p", LedgerHost.specification(0...0, readyPoint: .started))
    let isOfUse = host.boot()
    #expect(isOfUse == true && host.creations.isEmpty)
    #expect(try host.lease("p", wait: 1_000_000_000) == nil)
    #expect(host.create() == "p")
  }

  @Test(arguments: [nil, 4, 3]) func aNewTemplateIsThereBeforeOldVMsGo(maxVMs: Int?) throws {
    let host = LedgerHost()
    try host.declare("p", LedgerHost.specification(2...3, maxVMs: maxVMs, readyPoint: .started))
    host.finishAllWork()
    try host.declare("p", LedgerHost.specification(2...3, image: "hello", maxVMs: maxVMs, readyPoint: .started))
    #expect(host.retiring.isEmpty && host.create() == nil)
    #expect(try host.pool("p").outdated.count == 3)
    #expect(RefillStatus(try host.pool("p"), now: host.now).state == .ok)
    #expect(host.boot() == true)
    var steps = 0
    while try host.pool("p").outdated.count > 0, steps < 100 {
      steps += 1
      if host.create() == nil { host.retire() }
      let book = try host.pool("p")
      #expect(book.ready.count + book.outdated.count >= 2, "step \(steps)")
    }
    host.finishAllWork()
    #expect(try host.pool("p").outdated.isEmpty && host.pool("p").ready.count == 3)
  }

  /// The host is full of old VMs: one of them, and no more, makes room.
  @Test func aTemplateMayTakeTheRoomOfOneVMAboveTheFloor() throws {
    let host = LedgerHost(FleetLimits(vms: 3))
    try host.declare("p", LedgerHost.specification(2...3))
    host.finishAllWork()
    try host.declare("p", LedgerHost.specification(2...3, readyPoint: .started))
    #expect(host.creations.isEmpty && host.retiring.count == 1)
    host.retire()
    #expect(host.creations.count == 1 && host.retiring.isEmpty)
    host.fail("no login")
    #expect(host.retiring.isEmpty)
    #expect(try host.pool("p").outdated.count == 2)
  }

  @Test func aFailedTemplateBacksOffAndSaysWhy() throws {
    let host = LedgerHost()
    try host.declare("p", LedgerHost.specification(2...2, readyPoint: .started))
    host.fail("no login")
    #expect(host.creations.isEmpty && host.ledger.budget.vms == 0)
    #expect(try TemplateStatus(host.pool("p"), nil).state == .failed)
    let refill = RefillStatus(try host.pool("p"), now: host.now)
    #expect(refill.state == .backingOff && refill.lastError == "no login")
    host.pass(100_000_000)
    #expect(host.boot() == true)
    #expect(host.news().contains(.note(pool: "p", .recovered)))
    #expect(try host.pool("p").backoff == RefillBackoff())
  }

  @Test func whatBootsForAnOldDeclarationIsGivenUp() throws {
    let host = LedgerHost()
    try host.declare("p", LedgerHost.specification(1...1, readyPoint: .started))
    let revision = try host.pool("p").revision
    try host.declare("p", LedgerHost.specification(1...1, image: "hello", readyPoint: .started))
    #expect(host.news().contains(.dropTemplate(revision: revision)))
    #expect(host.creations.count == 2)
    // Late, and of no use; nor does its failure count.
    #expect(host.boot() == false && host.boot() == true)
    host.finishAllWork()
    #expect(try host.pool("p").ready.count == 1 && host.ledger.budget.vms == 2)
  }

  @Test func aDeletedPoolIsGoneWhenItsTemplateIs() throws {
    let host = LedgerHost()
    try host.declare("p", LedgerHost.specification(1...1, readyPoint: .started))
    let key = try host.ledger.delete(pool: "p", force: false, now: host.now).key
    host.act()
    #expect(!host.news().contains(.gone(key)))
    host.fail("given up")
    #expect(host.news().contains(.gone(key)))
    #expect(host.ledger.budget.vms == 0)
  }

  @Test func aPoolThatNeedsNoTemplateAnyMoreLetsGoOfIt() throws {
    let host = LedgerHost()
    try host.declare("p", LedgerHost.specification(1...1, readyPoint: .started))
    host.finishAllWork()
    try host.declare("p", LedgerHost.specification(1...1))
    host.finishAllWork()
    #expect(host.ledger.budget.vms == 1)
    #expect(try TemplateStatus(host.pool("p"), nil).state == .none)
  }

  /// Only how long it may take has changed.
  @Test func anotherTimeoutMakesNoNewTemplate() throws {
    let host = LedgerHost()
    var specification = LedgerHost.specification(1...1, readyPoint: .started)
    try host.declare("p", specification)
    host.finishAllWork()
    specification.readyTimeoutNS = 1
    try host.declare("p", specification)
    #expect(host.creations.isEmpty && host.retiring.isEmpty)
  }
}
