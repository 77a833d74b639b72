import Access
import MachineRuntime
import Testing

@testable import PoolManager

/// What the ledger counts for tenants, and what it refuses them.
@Suite struct TenantQuotaTests {
  private static let second: UInt64 = 1_000_000_000
  private static let acme = Tenant("acme")!
  private static let beta = Tenant("beta")!

  private func host(_ quotas: TenantQuotas, weight: Int = 1, _ limits: FleetLimits = FleetLimits()) -> LedgerHost {
    let host = LedgerHost(limits)
    host.ledger.declareTenants([Self.acme: TenantDeclaration(weight: weight, quotas: quotas)], now: host.now)
    return host
  }

  private func usage(_ host: LedgerHost, _ tenant: Tenant) -> TenantBook.Usage {
    host.ledger.tenants.usage[tenant] ?? TenantBook.Usage()
  }

  @Test(arguments: [
    (TenantQuotas(vms: 2), Quota.vms, 2), (TenantQuotas(vcpus: 2), .vcpus, 2),
    (TenantQuotas(memoryMiB: 5), .memoryMiB, 5),
  ])
  func aPoolStopsAtItsTenantsQuota(quotas: TenantQuotas, quota: Quota, limit: Int) throws {
    let host = host(quotas)
    try host.declare("acme/p", LedgerHost.specification(3...3))
    try host.declare("p", LedgerHost.specification(3...3))
    host.finishAllWork()
    let refusal = QuotaRefusal(of: Self.acme, quota: quota, limit: limit)
    #expect(try host.pool("acme/p").ready.count == 2 && host.pool("acme/p").limitedBy == .quota(refusal))
    #expect(host.news().contains(.note(pool: "acme/p", .limited(.quota(refusal)))))
    // No other tenant's pool and no other VM is held up by that.
    #expect(try host.pool("p").ready.count == 3)
    let footprint = Footprint(image: LedgerHost.image, vcpus: 1, memoryMiB: 2)
    #expect(host.reserve(footprint, for: Self.acme) == .quota(refusal))
    #expect(host.reserve(footprint, for: Self.beta) == nil)
    // A higher quota is used at once; a lower one ends nothing.
    host.ledger.declareTenants([:], now: host.now)
    host.act()
    host.finishAllWork()
    #expect(try host.pool("acme/p").ready.count == 3)
    host.ledger.declareTenants([Self.acme: TenantDeclaration(quotas: TenantQuotas(vms: 0))], now: host.now)
    host.finishAllWork()
    #expect(try host.pool("acme/p").ready.count == 3 && host.retiring.isEmpty)
  }

  @Test func leasesAreLimited() throws {
    let host = host(TenantQuotas(leases: 1))
    try host.declare("p", LedgerHost.specification(3...3))
    host.finishAllWork()
    let first = try #require(try host.lease("p", for: Self.acme))
    let refusal = LeaseRefusal.quota(QuotaRefusal(of: Self.acme, quota: .leases, limit: 1))
    #expect(throws: refusal) { try host.lease("p", for: Self.acme) }
    #expect(throws: refusal) { try host.lease("p", for: Self.acme, wait: Self.second) }
    #expect(try host.lease("p", for: Self.beta) != nil)
    host.end(first.id)
    #expect(try host.lease("p", for: Self.acme) != nil)
  }

  /// A VM of a shared pool counts for the lease's tenant while it is leased, and for the pool's before and after.
  @Test func aLeasedVMCountsForTheLeasesTenant() throws {
    let host = host(TenantQuotas(vms: 1))
    try host.declare("p", LedgerHost.specification(2...2))
    host.finishAllWork()
    #expect(usage(host, .standard).vms == 2)
    let first = try #require(try host.lease("p", for: Self.acme, confirmed: false))
    let memoryKiB = Footprint(image: LedgerHost.image, vcpus: 1, memoryMiB: 2).memoryKiB
    #expect(usage(host, Self.acme) == TenantBook.Usage(vms: 1, vcpus: 1, memoryKiB: memoryKiB, leases: 1))
    #expect(usage(host, .standard).vms == 1)
    #expect(throws: LeaseRefusal.quota(QuotaRefusal(of: Self.acme, quota: .vms, limit: 1))) {
      try host.lease("p", for: Self.acme)
    }
    #expect(host.undo(first.id))
    #expect(usage(host, Self.acme) == TenantBook.Usage() && usage(host, .standard).vms == 2)
    let second = try #require(try host.lease("p", for: Self.acme))
    host.end(second.id)
    host.finishAllWork()
    #expect(usage(host, Self.acme) == TenantBook.Usage() && usage(host, .standard).vms == 2)
  }

  /// Whose turn comes while its tenant is at its quota is refused, and keeps no other from its turn.
  @Test func aTenantAtItsQuotaHoldsUpNoOther() throws {
    let host = host(TenantQuotas(leases: 1, waiting: 2))
    try host.declare("p", LedgerHost.specification(1...1, maxVMs: 1))
    host.finishAllWork()
    let first = try #require(try host.lease("p"))
    for _ in 0..<2 { #expect(try host.lease("p", for: Self.acme, wait: 60 * Self.second) == nil) }
    #expect(throws: LeaseRefusal.quota(QuotaRefusal(of: Self.acme, quota: .waiting, limit: 2))) {
      try host.lease("p", for: Self.acme, wait: Self.second)
    }
    #expect(try host.lease("p", for: Self.beta, wait: 60 * Self.second) == nil)
    #expect(usage(host, Self.acme).waiting == 2)
    host.end(first.id)
    _ = host.news()
    host.finishAllWork()
    #expect(host.news().contains { if case .grant(2, _) = $0 { true } else { false } })
    // The next VM is for beta's request, although acme's other one is there, too.
    try host.declare("p", LedgerHost.specification(1...1, maxVMs: 2))
    host.finishAllWork()
    #expect(host.news().contains { if case .grant(5, _) = $0 { true } else { false } })
  }

  /// Where the queue is full, a short line gets a place from the longest.
  @Test func aFullQueueIsShared() throws {
    let host = LedgerHost(FleetLimits(vms: 0, waiters: 4))
    try host.declare("p", LedgerHost.specification(1...1))
    for _ in 0..<4 { #expect(try host.lease("p", for: Self.acme, wait: Self.second) == nil) }
    #expect(throws: LeaseRefusal.self) { try host.lease("p", for: Self.acme, wait: Self.second) }
    for _ in 0..<2 { #expect(try host.lease("p", for: Self.beta, wait: Self.second) == nil) }
    let refused = host.news().compactMap { if case .refuse(let waiter, .exhausted) = $0 { waiter } else { nil } }
    // The youngest of the long line go.
    #expect(refused == [4, 3])
    #expect(throws: LeaseRefusal.self) { try host.lease("p", for: Self.beta, wait: Self.second) }
    #expect(try host.pool("p").queue.count(of: Self.beta) == 2 && host.pool("p").queue.count == 4)
    #expect(usage(host, Self.acme).waiting == 2 && usage(host, Self.beta).waiting == 2)
  }
}
