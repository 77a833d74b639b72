import Access

/// Which of the fleet's things are there for a client. What it does not see is answered as what is not there.
public struct Viewer: Sendable, Equatable {
  /// Whose things alone; nil for everybody's.
  public let tenant: Tenant?
  /// The pools, by the names that its tenant has for them, beside which there are none; nil for all.
  public let pools: Set<String>?

  /// One that sees the things of a tenant (nil: of all), in these pools alone (nil: in all, and outside of pools).
  public init(tenant: Tenant?, pools: Set<String>? = nil) {
    self.tenant = tenant
    self.pools = pools
  }

  /// The server itself, and its operators.
  public static let everything = Viewer(tenant: nil)

  /// Whether the thing of that tenant, of that pool (nil: of none), is there for it.
  public func sees(_ tenant: Tenant, pool: String?) -> Bool {
    if let own = self.tenant, own != tenant { return false }
    guard pools != nil else { return true }
    return pool.map { admits(pool: Tenant.split($0).name) } ?? false
  }

  /// Whether it may use the pool that its tenant calls `name`.
  public func admits(pool name: String) -> Bool { pools?.contains(name) ?? true }

  /// Whether a pool is there for it. A shared one is there for every tenant.
  func sees(_ pool: PoolState) -> Bool {
    sees(pool.tenant, pool: pool.name)
      || pool.specification.isShared && admits(pool: Tenant.split(pool.name).name)
  }

  /// Whether a VM is there for it.
  public func sees(_ vm: VM) -> Bool { sees(vm.tenant, pool: vm.pool) }

  /// Whether a lease is there for it.
  public func sees(_ lease: Lease) -> Bool { sees(lease.tenant, pool: lease.pool) }
}
