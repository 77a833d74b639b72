import MachineRuntime
import Testing

@testable import PoolManager

/// Which VM is made next, and when.
@Suite struct RefillTests {
  @Test func aSmallPoolIsFilledBesideABigOne() throws {
    let host = LedgerHost()
    try host.declare("big", LedgerHost.specification(20...20))
    try host.declare("small", LedgerHost.specification(2...2))
    // In proportion: it has its first when the big one has its second, and both are half full at the same time.
    let order = (0..<16).compactMap { _ in host.create() }
    #expect(order.prefix(3).contains("small") && order.filter { $0 == "small" }.count == 2, "\(order)")
  }

  @Test func theEmptierOfEqualsComesFirst() throws {
    let host = LedgerHost()
    try host.declare("a", LedgerHost.specification(0...10))
    host.finishAllWork()
    try host.declare("b", LedgerHost.specification(0...10))
    host.finishAllWork()
    for pool in ["a", "b", "b", "b", "b"] { _ = try host.lease(pool) }
    // The first was asked for when there was one to make; then the emptier one.
    let order = (0..<4).compactMap { _ in host.create() }
    #expect(Array(order.dropFirst()) == ["b", "b", "b"], "\(order)")
  }

  @Test func belowTheFloorComesFirst() throws {
    let host = LedgerHost()
    try host.declare("full", LedgerHost.specification(0...4))
    host.create()
    try host.declare("floor", LedgerHost.specification(1...100))
    let order = (0..<2).compactMap { _ in host.create() }
    #expect(order.contains("floor"), "\(order)")
  }

  @Test func nobodyStarvesBesideAPoolThatIsAlwaysEmpty() throws {
    let host = LedgerHost()
    try host.declare("greedy", LedgerHost.specification(1...1))
    try host.declare("patient", LedgerHost.specification(0...50))
    var patient = 0
    for _ in 0..<400 {
      if host.create() == "patient" { patient += 1 }
      if let holding = try? host.lease("greedy") { host.end(holding.id) }
      while host.retire() {}
    }
    #expect(patient >= 10, "\(patient) of 400")
  }

  @Test func concurrencyIsBounded() throws {
    let host = LedgerHost(FleetLimits(creations: 4))
    var one = LedgerHost.specification(5...5)
    one.refillConcurrency = 1
    try host.declare("one", one)
    #expect(host.creations.count == 1)
    try host.declare("many", LedgerHost.specification(9...9))
    #expect(host.creations.count == 4)
    host.finishAllWork()
    #expect(try host.pool("one").ready.count == 5 && host.pool("many").ready.count == 9)
  }

  @Test func whoeverWaitsGetsAVMBeyondTheDeclaration() throws {
    let host = LedgerHost()
    try host.declare("none", LedgerHost.specification(0...0))
    #expect(host.creations.isEmpty)
    #expect(try host.lease("none", wait: 1_000_000_000) == nil)
    #expect(host.create() == "none")
    #expect(host.news().contains { if case .grant(waiter: 1, _) = $0 { true } else { false } })
    #expect(host.creations.isEmpty)
  }

  @Test func pausedMeansLeftAlone() throws {
    let host = LedgerHost()
    var paused = LedgerHost.specification(2...2)
    try host.declare("p", paused)
    host.finishAllWork()
    paused.isPaused = true
    try host.declare("p", paused)
    #expect(try host.lease("p") != nil)
    #expect(host.creations.isEmpty)
    paused.ready = 0...0
    try host.declare("p", paused)
    #expect(host.retiring.isEmpty)
    paused.isPaused = false
    try host.declare("p", paused)
    #expect(host.retiring.count == 1)
  }

  // MARK: Rolling over

  @Test(arguments: [nil, 4, 3]) func aChangedImageNeverTakesThePoolBelowItsFloor(maxVMs: Int?) throws {
    let host = LedgerHost()
    try host.declare("p", LedgerHost.specification(2...3, maxVMs: maxVMs))
    host.finishAllWork()
    try host.declare("p", LedgerHost.specification(2...3, image: "hello", maxVMs: maxVMs))
    var steps = 0
    while try host.pool("p").outdated.count > 0, steps < 100 {
      steps += 1
      if host.create() == nil { host.retire() }
      let book = try host.pool("p")
      #expect(book.ready.count + book.outdated.count >= 2, "step \(steps)")
      #expect(book.total <= maxVMs ?? .max)
    }
    host.finishAllWork()
    let book = try host.pool("p")
    #expect(book.outdated.isEmpty && book.ready.count == 3)
  }

  @Test func withoutRoomOldVMsAreServedUntilTheyAreReplaced() throws {
    let host = LedgerHost()
    try host.declare("p", LedgerHost.specification(2...2, maxVMs: 2))
    host.finishAllWork()
    try host.declare("p", LedgerHost.specification(2...2, image: "hello", maxVMs: 2))
    host.finishAllWork()
    #expect(try host.pool("p").outdated.count == 2)
    let refill = RefillStatus(try host.pool("p"), now: host.now)
    #expect(refill.state == .limited && refill.lastError?.contains("max_vms (2) leaves no room") == true)
    let holdings = try [host.lease("p"), host.lease("p")]
    for holding in holdings { host.end(try #require(holding).id) }
    host.finishAllWork()
    #expect(try host.pool("p").outdated.isEmpty && host.pool("p").ready.count == 2)
    #expect(RefillStatus(try host.pool("p"), now: host.now).state == .ok)
  }

  @Test func aVMOfAnOldDeclarationIsNotEvenTakenIn() throws {
    let host = LedgerHost()
    try host.declare("p", LedgerHost.specification(1...1))
    try host.declare("p", LedgerHost.specification(1...1, image: "hello"))
    host.create()
    #expect(try host.pool("p").ready.isEmpty && host.retiring.count == 1)
    host.finishAllWork()
    #expect(try host.pool("p").ready.count == 1)
  }

  // MARK: Failures

  @Test func backsOffTwiceAsLongEachTimeAndTriesOneAtATime() throws {
    let host = LedgerHost(FleetLimits(creations: 4))
    try host.declare("p", LedgerHost.specification(4...4))
    #expect(host.creations.count == 4)
    // Those that fail together count once.
    for _ in 0..<4 { host.fail() }
    #expect(try host.pool("p").backoff.failures == 1)
    var waits: [UInt64] = []
    for _ in 0..<12 {
      #expect(host.creations.isEmpty)
      let next = try host.pool("p").backoff.nextAttemptNS
      waits.append(next - host.now)
      host.pass(next - host.now - 1)
      #expect(host.creations.isEmpty)
      host.pass(1)
      #expect(host.creations.count == 1)
      host.fail()
    }
    let expected = (0..<12).map { min(UInt64(50_000_000) << UInt64($0), 15_000_000_000) }
    #expect(waits == expected)
    #expect(try host.pool("p").backoff.isOpen)
    host.pass(15_000_000_000)
    _ = host.news()
    host.create()
    #expect(host.news().contains(.note(pool: "p", .recovered)))
    #expect(try host.pool("p").backoff == RefillBackoff())
    #expect(host.creations.count == 3)
  }

  @Test func jitterLiesBetweenHalfAndAll() {
    var backoff = RefillBackoff()
    #expect(backoff.failed("x", now: 0, jitter: 1) == 100_000_000)
    #expect(backoff.failed("x", now: 100_000_000, jitter: 0.5) == 100_000_000 + 150_000_000)
  }

  @Test(arguments: [
    (FleetLimits(vms: 2), BudgetRefusal.Resource.vms), (FleetLimits(memoryMiB: 5), .memory),
    (FleetLimits(descriptors: 8), .descriptors), (FleetLimits(mappings: 11), .mappings),
    (FleetLimits(threads: 2), .threads),
  ])
  func theHostsLimitsAreNamedAndRespected(limits: FleetLimits, resource: BudgetRefusal.Resource) throws {
    let host = LedgerHost(limits)
    try host.declare("p", LedgerHost.specification(3...3))
    host.finishAllWork()
    let book = try host.pool("p")
    #expect(book.ready.count == 2 && book.limitedBy?.hostResource == resource)
    #expect(RefillStatus(book, now: host.now).state == .limited)
    #expect(host.reserve(Footprint(image: LedgerHost.image, vcpus: 1, memoryMiB: 2))?.hostResource == resource)
    // Room is used at once.
    #expect(host.delete("vm-1"))
    host.ledger.retired("vm-1", now: host.now)
    host.act()
    #expect(host.creations.count == 1)
  }

  /// What is larger than the whole host does not fit however much is deleted, so the advice is not to delete.
  @Test(arguments: [
    (FleetLimits(memoryMiB: 5), BudgetRefusal.Resource.memory), (FleetLimits(descriptors: 3), .descriptors),
    (FleetLimits(mappings: 4), .mappings), (FleetLimits(threads: 1), .threads),
  ])
  func aVMLargerThanTheHostNeverFits(limits: FleetLimits, resource: BudgetRefusal.Resource) {
    let budget = HostBudget(limits: limits)
    let refusal = budget.refusal(of: Footprint(image: LedgerHost.image, vcpus: 2, memoryMiB: 64))
    #expect(refusal?.resource == resource && refusal?.neverFits == true)
    #expect(refusal?.description.contains("needs more by itself") == true)
    #expect(refusal?.description.contains("delete some") == false)
  }
}

extension RoomRefusal {
  fileprivate var hostResource: BudgetRefusal.Resource? {
    if case .host(let refusal) = self { refusal.resource } else { nil }
  }
}
