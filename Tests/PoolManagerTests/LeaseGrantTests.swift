import Testing

@testable import PoolManager

/// Leases: who gets a VM, for how long, and what becomes of it.
@Suite struct LeaseGrantTests {
  private static let second: UInt64 = 1_000_000_000

  private func stocked(_ count: Int = 2) throws -> LedgerHost {
    let host = LedgerHost()
    try host.declare("p", LedgerHost.specification(count...count))
    host.finishAllWork()
    _ = host.news()
    return host
  }

  // MARK: Every state of a VM and everything that can happen to it

  enum What: CaseIterable { case take, delete, end, retired, quarantined, expired }
  enum Phase: CaseIterable { case ready, outdated, taken, leased, retiring, quarantined }

  @Test(arguments: Phase.allCases, What.allCases) func everyStateAndEvent(phase: Phase, what: What) throws {
    let host = try stocked(1)
    let vm = "vm-1"
    switch phase {
    case .ready: break
    case .outdated:
      // No room for another, so it stays.
      try host.declare("p", LedgerHost.specification(1...1, image: "hello", maxVMs: 1))
    case .taken: #expect(host.take(vm))
    case .leased: _ = try host.lease("p")
    case .retiring, .quarantined:
      let holding = try #require(try host.lease("p"))
      host.end(holding.id)
      if phase == .quarantined { host.ledger.quarantined(vm, now: host.now) }
    }
    _ = host.news()
    let before = host.ledger.vms[vm]?.phase
    var isDone = true
    switch what {
    case .take: isDone = host.take(vm)
    case .delete: isDone = host.delete(vm)
    case .end: isDone = host.ledger.end("lease-1", now: host.now) != nil
    case .retired: host.ledger.retired(vm, now: host.now)
    case .quarantined: host.ledger.quarantined(vm, now: host.now)
    case .expired: host.pass(60 * Self.second)
    }
    host.act()
    let after = host.ledger.vms[vm]?.phase
    switch (phase, what) {
    case (.ready, .take), (.outdated, .take): #expect(isDone && after == .taken)
    case (.taken, .take), (.leased, .take): #expect(isDone && after == before)
    case (.retiring, .take), (.quarantined, .take), (.retiring, .delete), (.quarantined, .delete):
      #expect(!isDone && after == before)
    case (.leased, .delete):
      #expect(isDone && after == .retiring && host.ledger.leases.isEmpty)
      let news = host.news()
      #expect(news.contains { if case .ended(_, .vmDeleted) = $0 { true } else { false } })
    case (_, .delete): #expect(isDone && after == .retiring)
    case (.leased, .end): #expect(isDone && after == .retiring && host.news().contains(.retire(vm: vm)))
    case (_, .end): #expect(!isDone && after == before)
    case (_, .retired): #expect(after == nil)
    case (.retiring, .quarantined): #expect(after == .quarantined)
    case (_, .quarantined): #expect(after == before)
    case (.leased, .expired):
      #expect(after == .retiring)
      let news = host.news()
      #expect(news.contains { if case .ended(_, .expired) = $0 { true } else { false } })
    case (_, .expired): #expect(after == before)
    }
  }

  // MARK: Time

  @Test func aHeartbeatExtendsAndCostsNoTimer() throws {
    let host = LedgerHost(FleetLimits(leaseNS: 100 * Self.second))
    try host.declare("p", LedgerHost.specification(1...1))
    host.finishAllWork()
    let holding = try #require(try host.lease("p", ttl: 10 * Self.second))
    let end = host.now + 100 * Self.second
    #expect(holding.lastNS == end)
    for _ in 0..<95 {
      host.pass(Self.second)
      let extended = try #require(host.extend(holding.id, ttlNS: 10 * Self.second))
      #expect(extended.expiresNS == min(host.now + 10 * Self.second, end))
      #expect(try #require(host.ledger.nextTick) <= extended.expiresNS)
    }
    #expect(host.ledger.leases.count == 1)
    host.pass(5 * Self.second)
    #expect(host.ledger.leases.isEmpty)
    #expect(host.extend(holding.id, ttlNS: Self.second) == nil)
  }

  @Test func extendingNeverShortensUnlessItIsAskedTo() throws {
    let host = try stocked()
    let holding = try #require(try host.lease("p", ttl: 60 * Self.second))
    let before = holding.expiresNS
    #expect(host.extend(holding.id, ttlNS: Self.second)?.expiresNS == before)
    #expect(host.extend(holding.id, ttlNS: 61 * Self.second)?.expiresNS == before + Self.second)
    host.pass(2 * Self.second)
    #expect(host.ledger.leases.count == 1)
    #expect(host.ledger.extend(holding.id, ttlNS: Self.second, shortens: true, now: host.now) != nil)
    host.pass(Self.second)
    #expect(host.ledger.leases.isEmpty)
  }

  /// A lease of a day that is released at once must not leave its timer behind for a day.
  @Test func timersOfEndedLeasesAndWaitersGo() throws {
    let host = try stocked(1)
    for _ in 0..<5000 {
      let holding = try #require(try host.lease("p", ttl: 86_400 * Self.second))
      host.end(holding.id)
      #expect(try host.lease("p", wait: 600 * Self.second) == nil)
      #expect(host.leave(host.lastWaiter, pool: "p"))
      host.finishAllWork()
      _ = host.news()
      #expect(host.ledger.timers.count < 300)
    }
    // Those that count are still there.
    _ = try host.lease("p", ttl: 3 * Self.second)
    for _ in 0..<1000 { _ = try? host.lease("p", wait: 0) }
    host.pass(3 * Self.second)
    #expect(host.ledger.leases.isEmpty)
  }

  // MARK: Grants that are taken back

  @Test func aGrantThatIsTakenBackLeavesTheStockAsItWas() throws {
    let host = try stocked(3)
    let holding = try #require(try host.lease("p", confirmed: false))
    #expect(holding.vm == "vm-1")
    // Nothing is made in its place before it is on record.
    #expect(host.creations.isEmpty)
    #expect(host.undo(holding.id))
    #expect(!host.undo(holding.id))
    #expect(try host.pool("p").ready.values == ["vm-1", "vm-2", "vm-3"])
    #expect(try host.pool("p").leased == 0 && host.pool("p").total == 3)
    #expect(host.creations.isEmpty && host.retiring.isEmpty && host.ledger.leases.isEmpty)
    // The fence is never given again.
    #expect(try #require(try host.lease("p")).fence > holding.fence)
  }

  @Test func aGrantThatIsTakenBackGoesToTheNextInTheQueue() throws {
    let host = try stocked(1)
    let holding = try #require(try host.lease("p", confirmed: false))
    #expect(try host.lease("p", wait: Self.second) == nil)
    #expect(host.undo(holding.id))
    let grants = host.news().compactMap { if case .grant(_, let grant) = $0 { grant.vm } else { nil } }
    #expect(grants == [holding.vm])
  }

  @Test func aGrantOfAnOldDeclarationOrADeletedPoolIsTakenBackAsThat() throws {
    let host = try stocked(1)
    let old = try #require(try host.lease("p", confirmed: false))
    try host.declare("p", LedgerHost.specification(1...1, image: "hello"))
    #expect(host.undo(old.id))
    #expect(try host.pool("p").ready.isEmpty && host.pool("p").outdated.count == 1)
    host.finishAllWork()
    #expect(try host.pool("p").ready.count == 1 && host.pool("p").outdated.isEmpty)
    let last = try #require(try host.lease("p", confirmed: false))
    _ = try host.ledger.delete(pool: "p", force: false, now: host.now)
    #expect(host.undo(last.id))
    host.finishAllWork()
    #expect(host.ledger.pools.isEmpty && host.ledger.vms.isEmpty)
  }

  // MARK: Why there is none

  @Test func aRefusalSaysWhatStandsInTheWay() throws {
    func refusal(_ host: LedgerHost) -> PoolShortage? {
      guard case .exhausted(_, let reason) = #expect(throws: LeaseRefusal.self, performing: { try host.lease("p") })
      else { return nil }
      return reason
    }
    let paused = LedgerHost()
    var specification = LedgerHost.specification(1...1)
    specification.isPaused = true
    try paused.declare("p", specification)
    #expect(refusal(paused) == .paused)
    let full = LedgerHost()
    try full.declare("p", LedgerHost.specification(1...1, maxVMs: 1))
    #expect(refusal(full) == nil)
    full.finishAllWork()
    _ = try full.lease("p")
    #expect(refusal(full) == .full(maxVMs: 1))
    let small = LedgerHost(FleetLimits(vms: 0))
    try small.declare("p", LedgerHost.specification(1...1))
    #expect(refusal(small) == .noRoom(.host(BudgetRefusal(resource: .vms, limit: 0))))
    #expect(try small.lease("p", wait: 1) == nil)
    small.pass(1)
    let reason = PoolShortage.noRoom(.host(BudgetRefusal(resource: .vms, limit: 0)))
    #expect(small.news().contains(.refuse(waiter: small.lastWaiter, .exhausted(waiting: 0, reason: reason))))
    let failing = LedgerHost()
    try failing.declare("p", LedgerHost.specification(1...1))
    failing.fail("no memory")
    #expect(refusal(failing) == .failing("no memory"))
    let none = LedgerHost()
    try none.declare("p", LedgerHost.specification(0...0))
    #expect(refusal(none) == .keepsNone)
  }

  // MARK: The queue

  @Test func firstComeFirstServed() throws {
    let host = try stocked(1)
    let first = try #require(try host.lease("p"))
    for _ in 0..<3 { #expect(try host.lease("p", wait: 5 * Self.second) == nil) }
    // 2, 3 and 4 wait; 3 leaves.
    #expect(host.leave(3, pool: "p"))
    #expect(!host.leave(3, pool: "p"))
    _ = host.news()
    var fences = [first.fence]
    var served: [UInt64] = []
    for _ in 0..<4 {
      host.create()
      for case .grant(let waiter, let holding) in host.news() {
        served.append(waiter)
        fences.append(holding.fence)
        host.end(holding.id)
      }
      host.retire()
    }
    #expect(served == [2, 4])
    #expect(fences == fences.sorted() && Set(fences).count == fences.count)
  }

  @Test func waitingEnds() throws {
    let host = try stocked(0)
    #expect(try host.lease("p", wait: Self.second) == nil)
    #expect(throws: LeaseRefusal.exhausted(waiting: 1, reason: .keepsNone)) { try host.lease("p") }
    _ = host.news()
    host.pass(Self.second - 1)
    #expect(host.news().isEmpty)
    host.pass(1)
    #expect(host.news().contains(.refuse(waiter: 1, .exhausted(waiting: 0, reason: nil))))
  }

  @Test func theQueueIsBounded() throws {
    let host = LedgerHost(FleetLimits(vms: 0, waiters: 2))
    try host.declare("p", LedgerHost.specification(1...1))
    for _ in 0..<2 { #expect(try host.lease("p", wait: Self.second) == nil) }
    #expect(throws: LeaseRefusal.exhausted(waiting: 2, reason: .noRoom(.host(BudgetRefusal(resource: .vms, limit: 0)))))
    {
      try host.lease("p", wait: Self.second)
    }
  }

  @Test func theEndTellsWhoeverWaits() throws {
    let host = LedgerHost(FleetLimits(vms: 0))
    try host.declare("p", LedgerHost.specification(1...1))
    _ = try host.lease("p", wait: Self.second)
    host.ledger.close()
    host.act()
    #expect(host.news().contains(.refuse(waiter: 1, .draining)))
    #expect(throws: LeaseRefusal.draining) { try host.lease("p") }
  }

  // MARK: Deletion of pools

  @Test func aPoolWaitsForItsLeases() throws {
    let host = try stocked()
    let holding = try #require(try host.lease("p"))
    let (key, waits) = try host.ledger.delete(pool: "p", force: false, now: host.now)
    host.act()
    #expect(waits)
    #expect(throws: LeaseRefusal.poolDeleted) { try host.lease("p") }
    host.finishAllWork()
    #expect(try host.pool("p").leased == 1 && host.pool("p").total == 1)
    host.end(holding.id)
    // The name is free; what is left is being taken apart.
    #expect(host.ledger.pool("p") == nil && host.ledger.pools[key]?.retiring == 1)
    try host.declare("p", LedgerHost.specification(1...1))
    host.finishAllWork()
    #expect(host.ledger.pools[key] == nil && host.news().contains(.gone(key)))
    #expect(try host.pool("p").ready.count == 1)
  }

  @Test func byForceItDoesNot() throws {
    let host = try stocked()
    _ = try host.lease("p")
    let (key, waits) = try host.ledger.delete(pool: "p", force: true, now: host.now)
    host.act()
    #expect(!waits && host.ledger.leases.isEmpty)
    let news = host.news()
    #expect(news.contains { if case .ended(_, .poolDeleted) = $0 { true } else { false } })
    host.finishAllWork()
    #expect(host.news().contains(.gone(key)))
  }

  @Test func whenOnlyQuarantinedVMsAreLeftThatIsSaid() throws {
    let host = try stocked(2)
    _ = try host.ledger.delete(pool: "p", force: false, now: host.now)
    host.act()
    host.retire()
    let news = host.news()
    #expect(!news.contains { if case .onlyQuarantinedLeft = $0 { true } else { false } })
    host.ledger.quarantined(host.retiring[0], now: host.now)
    host.act()
    let last = host.news()
    #expect(last.contains { if case .onlyQuarantinedLeft = $0 { true } else { false } })
    #expect(host.ledger.pools.count == 1)
    host.retire()
    #expect(host.ledger.pools.isEmpty)
  }

  @Test func oldFencesStayOld() throws {
    var ledger = Ledger(limits: FleetLimits(), firstFence: 42)
    _ = try ledger.declare("p", LedgerHost.specification(1...1), now: 0)
    let next = ledger.nextCreation(now: 0)
    let creation = try #require(next)
    ledger.created(creation, "vm-1", now: 0)
    let waiter = Waiter(id: 1, leaseID: "lease-1", ttlNS: 1, untilNS: 0)
    let holding = try ledger.lease(from: "p", waiter, now: 0)
    #expect(holding?.fence == 42)
  }
}
