import Testing

@testable import PoolManager

/// Leases: who gets a VM, for how long, and what becomes of it.
@Suite struct HoldingTests {
  private static let second: UInt64 = 1_000_000_000

  private func stocked(_ count: Int = 2) throws -> LedgerHost {
    let host = LedgerHost()
    try host.declare("p", LedgerHost.specification(count...count))
    host.settle()
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
      if phase == .quarantined { host.ledger.quarantined(vm) }
    }
    _ = host.news()
    let before = host.ledger.slots[vm]?.phase
    var isDone = true
    switch what {
    case .take: isDone = host.take(vm)
    case .delete: isDone = host.delete(vm)
    case .end: isDone = host.ledger.end("lease-1", now: host.now) != nil
    case .retired: host.ledger.retired(vm, now: host.now)
    case .quarantined: host.ledger.quarantined(vm)
    case .expired: host.pass(60 * Self.second)
    }
    host.act()
    let after = host.ledger.slots[vm]?.phase
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
    host.settle()
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

  @Test func aLeaseCanBeShortened() throws {
    let host = try stocked()
    let holding = try #require(try host.lease("p", ttl: 60 * Self.second))
    #expect(host.extend(holding.id, ttlNS: Self.second) != nil)
    host.pass(Self.second)
    #expect(host.ledger.leases.isEmpty)
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
    #expect(throws: LeaseRefusal.exhausted(waiting: 1)) { try host.lease("p") }
    _ = host.news()
    host.pass(Self.second - 1)
    #expect(host.news().isEmpty)
    host.pass(1)
    #expect(host.news().contains(.refuse(waiter: 1, .exhausted(waiting: 0))))
  }

  @Test func theQueueIsBounded() throws {
    let host = LedgerHost(FleetLimits(vms: 0, waiters: 2))
    try host.declare("p", LedgerHost.specification(1...1))
    for _ in 0..<2 { #expect(try host.lease("p", wait: Self.second) == nil) }
    #expect(throws: LeaseRefusal.exhausted(waiting: 2)) { try host.lease("p", wait: Self.second) }
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
    host.settle()
    #expect(try host.book("p").leased == 1 && host.book("p").total == 1)
    host.end(holding.id)
    // The name is free; what is left is being taken apart.
    #expect(host.ledger.book("p") == nil && host.ledger.books[key]?.retiring == 1)
    try host.declare("p", LedgerHost.specification(1...1))
    host.settle()
    #expect(host.ledger.books[key] == nil && host.news().contains(.gone(key)))
    #expect(try host.book("p").ready.count == 1)
  }

  @Test func byForceItDoesNot() throws {
    let host = try stocked()
    _ = try host.lease("p")
    let (key, waits) = try host.ledger.delete(pool: "p", force: true, now: host.now)
    host.act()
    #expect(!waits && host.ledger.leases.isEmpty)
    let news = host.news()
    #expect(news.contains { if case .ended(_, .poolDeleted) = $0 { true } else { false } })
    host.settle()
    #expect(host.news().contains(.gone(key)))
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
