import Access
import LinuxSupport
import MachineRuntime

// Pools: declared, looked at and deleted; and the tenants whose they are.

extension Fleet {
  /// What a tenant may have at most.
  public func quotas(of tenant: Tenant) -> TenantQuotas {
    read { $0.ledger.tenants.declarations[tenant]?.quotas } ?? TenantQuotas()
  }

  /// Says what tenants may have. It holds for what comes, and ends nothing that is there. A tenant that is left out has no quotas.
  public func declareTenants(_ tenants: [Tenant: TenantDeclaration]) {
    update { tables, now in tables.ledger.declareTenants(tenants, now: now) }
  }

  /// Declares a pool, or declares it anew. Returns how it stands, and whether it is new; the VMs are made later.
  @discardableResult
  public func declare(_ name: String, _ specification: PoolSpecification) throws(FleetError) -> (
    PoolStatus, isNew: Bool
  ) {
    let result = update { tables, now -> Result<(PoolStatus, isNew: Bool), FleetError> in
      do throws(FleetError) {
        let isNew = try tables.ledger.declare(name, specification, now: now)
        guard let pool = tables.ledger.pool(name) else { return .failure(.noSuchPool(name)) }
        if isNew { tables.measurements[pool.key] = PoolMeasurements() }
        setProbe(pool.key, specification.probeIntervalNS, &tables)
        observe(.pool(name, isNew: isNew))
        return .success((Self.status(pool, tables, now), isNew))
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  /// The limit of the host that a VM of that specification exceeds by itself; nil where it fits into an empty host.
  ///
  /// `declare` takes a pool of such VMs all the same, which makes none: a host may have become smaller since the pool was
  /// declared.
  public func limit(exceededBy specification: VMSpecification) -> BudgetRefusal? {
    HostBudget.refusal(larger: specification.footprint, than: limits)
  }

  /// Throws what `declare` would throw for a pool of that name, and does nothing else: for a caller that has to record the
  /// declaration first.
  public func checkDeclaration(_ name: String) throws(FleetError) {
    if let refusal = read({ $0.ledger.refusalToDeclare(name) }) { throw refusal }
  }

  /// How a pool stands.
  public func pool(_ name: String) throws(FleetError) -> PoolStatus {
    let now = MonotonicClock.now()
    guard let status = read({ tables in tables.ledger.pool(name).map { Self.status($0, tables, now) } }) else {
      throw .noSuchPool(name)
    }
    return status
  }

  /// All pools, by name.
  public var pools: [PoolStatus] { pools(after: nil, limit: .max).pools }

  /// A page of the pools that `viewer` sees, by the server's names, beginning after the one `name` names; `next` is there where
  /// more follow.
  public func pools(
    for viewer: Viewer = .everything, after name: String?, limit: Int
  ) -> (pools: [PoolStatus], next: String?) {
    let now = MonotonicClock.now()
    return read { tables in
      // There are a hundred at most, so a page costs no more than that.
      let rest = tables.ledger.keys.page(after: name, limit: .max).items
        .compactMap { tables.ledger.pools[$0.value] }.filter { viewer.sees($0) }
      let pools = rest.prefix(limit).map { Self.status($0, tables, now) }
      return (pools, rest.count > limit ? pools.last?.name : nil)
    }
  }

  /// Deletes a pool with its VMs, started ones too: now, leases and all (`force`), or once the last lease has ended.
  /// Returns whether leases are waited for.
  ///
  /// Calls `whenOver` once, on any thread: when nothing but quarantined VMs is left of the pool, or at `deadlineNS`
  /// (CLOCK_MONOTONIC; nil: never). The deletion goes on in any case.
  @discardableResult
  public func deletePool(
    _ name: String, force: Bool = false, untilNS deadlineNS: UInt64?,
    whenOver: @escaping @Sendable (PoolDeletion) -> Void
  ) throws(FleetError) -> Bool {
    let timer = deadlineNS.map { _ in DeadlineTimer() }
    let result = update { tables, now -> Result<(waits: Bool, key: Ledger.PoolKey, token: UInt64), FleetError> in
      do throws(FleetError) {
        let isNew = tables.ledger.pool(name)?.isDraining == false
        let (key, waits) = try tables.ledger.delete(pool: name, force: force, now: now)
        let token = tables.token()
        tables.deletions[key, default: [:]][token] = Deletion(timer: timer, notify: whenOver)
        if isNew { observe(.pool(name, isNew: nil)) }
        return .success((waits, key, token))
      } catch {
        return .failure(error)
      }
    }
    let (waits, key, token) = try result.get()
    if let timer, let deadlineNS {
      timer.arm(atNS: deadlineNS) { [weak self] in
        self?.update { tables, now in
          guard let deletion = tables.deletions[key]?.removeValue(forKey: token), let pool = tables.ledger.pools[key]
          else { return }
          let status = Self.status(pool, tables, now)
          tables.outbox.append { deletion.notify(.goesOn(status)) }
        }
      }
    }
    return waits
  }

  /// As above; `whenGone` is called when nothing is left of the pool.
  @discardableResult
  public func deletePool(
    _ name: String, force: Bool = false, whenGone: @escaping @Sendable () -> Void = {}
  ) throws(FleetError) -> Bool {
    try deletePool(name, force: force, untilNS: nil) { outcome in if case .complete = outcome { whenGone() } }
  }

  static func status(_ pool: PoolState, _ tables: borrowing Tables, _ now: UInt64) -> PoolStatus {
    PoolStatus(
      pool, states: tables.vms.counts(of: pool.key), template: tables.templates[pool.revision], now: now)
  }
}
