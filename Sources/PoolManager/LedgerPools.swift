// Pools: declared, brought near to their declaration, and deleted.

extension Ledger {
  /// Why a pool of that name cannot be declared now; nil where it can.
  func refusalToDeclare(_ name: String) -> FleetError? {
    if isClosed { return .draining }
    if let pool = pool(name) { return pool.isDraining ? .poolDraining(name) : nil }
    return keys.count < limits.pools ? nil : .limitReached(what: "pools", limit: limits.pools, option: nil)
  }

  /// Declares a pool, or declares it anew; true when it is new.
  mutating func declare(_ name: String, _ specification: PoolSpecification, now: UInt64) throws(FleetError) -> Bool {
    if let refusal = refusalToDeclare(name) { throw refusal }
    if let key = keys[name], let pool = pools[key] {
      if pool.specification.vm != specification.vm || pool.specification.readyPoint != specification.readyPoint {
        dropTemplate(key)
        for vm in pool.ready.values { vms[vm]?.phase = .outdated }
        pools[key]?.replace(with: nextRevision)
        nextRevision += 1
      }
      pools[key]?.specification = specification
      // A new declaration is a new chance.
      pools[key]?.backoff = RefillBackoff()
      reconcile(key, now)
      return false
    }
    let key = nextKey
    nextKey += 1
    pools[key] = PoolState(key: key, name: name, specification: specification, revision: nextRevision)
    nextRevision += 1
    keys[name] = key
    reconcile(key, now)
    return true
  }

  /// Deletes a pool: at once, with its leases, or (not `force`) when the last of them has ended. Returns whether leases
  /// are waited for, and the key that `gone` will name.
  mutating func delete(
    pool name: String, force: Bool, now: UInt64
  ) throws(FleetError) -> (key: PoolKey, waitsForLeases: Bool) {
    guard let key = keys[name] else { throw .noSuchPool(name) }
    pools[key]?.isDraining = true
    dropTemplate(key)
    refuseAll(key, .poolDeleted)
    for (vm, record) in vms where record.pool == key {
      switch record.phase {
      case .leased(let id):
        guard force, let grant = leases[id] else { continue }
        actions.append(.ended(grant, .poolDeleted))
        retire(vm, record)
      case .taken, .ready, .outdated: retire(vm, record)
      // A reset that ends finds the pool gone.
      case .resetting, .retiring, .quarantined: continue
      }
    }
    let waits = (pools[key]?.leased ?? 0) > 0
    reconcile(key, now)
    return (key, waits)
  }

  /// Makes nothing new and hands out nothing from now on.
  mutating func close() {
    isClosed = true
    underfilled = []
    for key in pools.keys {
      refuseAll(key, .draining)
      dropTemplate(key)
    }
  }

  private mutating func refuseAll(_ key: PoolKey, _ refusal: LeaseRefusal) {
    while let waiter = withPool(key, { $0.queue.first }) ?? nil { refuse(waiter, key, refusal) }
  }

  /// Brings a pool as near to its declaration as can be done without making VMs.
  mutating func reconcile(_ key: PoolKey, _ now: UInt64) {
    serveQueue(key, now)
    guard let (isDraining, isPaused) = withPool(key, { ($0.isDraining, $0.specification.isPaused) }) else { return }
    if isDraining { return reconcileDraining(key) }
    if !isPaused {
      for vm in withPool(key, { $0.surplus }) ?? [] { if let record = vms[vm] { retire(vm, record) } }
      makeRoom(key, now)
    }
    let lacks = withPool(key) { pool in
      if pool.isExhausted, !pool.ready.isEmpty { pool.isExhausted = false }
      return pool.shortfall > 0 || pool.lacksTemplate
    }
    if lacks == true, !isClosed {
      underfilled.insert(key)
    } else {
      underfilled.remove(key)
      pools[key]?.limitedBy = nil
    }
  }

  private mutating func reconcileDraining(_ key: PoolKey) {
    underfilled.remove(key)
    guard let pool = pools[key] else { return }
    if pool.leased == 0, pool.taken == 0, keys[pool.name] == key { keys[pool.name] = nil }
    if pool.total == 0, pool.booting == 0 {
      pools[key] = nil
      actions.append(.gone(key))
    } else if pool.total == pool.quarantined, pool.booting == 0 {
      actions.append(.onlyQuarantinedLeft(key))
    }
  }
}
