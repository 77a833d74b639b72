// Which VM is made next, and what becomes of it.

extension Ledger {
  /// The next VM or template to make, if one is to be made now; it counts as being made until `created`, `booted` or
  /// `failed`.
  mutating func nextCreation(now: UInt64) -> Creation? {
    if isClosed { return nil }
    // First: a template takes long, and keeps no other pool's VMs from being made.
    if let template = nextTemplate(now: now) { return template }
    guard creationsInFlight < limits.creations else { return nil }
    var best: (key: PoolKey, urgency: Double)?
    for key in underfilled {
      guard let pool = pools[key], pool.mayCreate(now: now) else { continue }
      if let refusal = refusal(of: pool.specification.vm.footprint, for: pool.tenant) {
        limited(key, by: refusal)
        continue
      }
      let urgency = pool.urgency(at: creationsBegun)
      // Of equals the older one, so that the order does not depend on the set's.
      if let best, (best.urgency, key) > (urgency, best.key) { continue }
      best = (key, urgency)
    }
    guard let key = best?.key, let pool = pools[key] else { return nil }
    creationsBegun += 1
    creationsInFlight += 1
    takeRoom(pool.specification.vm.footprint, for: pool.tenant)
    pools[key]?.creating += 1
    pools[key]?.servedAt = creationsBegun
    reconcile(key, now)
    return Creation(pool: key, name: pool.name, revision: pool.revision, specification: pool.specification.vm)
  }

  mutating func limited(_ key: PoolKey, by refusal: RoomRefusal) {
    guard let pool = pools[key], pool.limitedBy != refusal else { return }
    pools[key]?.limitedBy = refusal
    actions.append(.note(pool: pool.name, .limited(refusal)))
  }

  /// A VM that was asked for has been made.
  mutating func created(_ creation: Creation, _ vm: String, now: UInt64) {
    let pool = endCreation(creation)
    let footprint = creation.specification.footprint
    guard !isClosed, let pool, !pool.isDraining, pool.revision == creation.revision else {
      vms[vm] = VMRecord(
        pool: pool == nil ? nil : creation.pool, footprint: footprint, tenant: creation.tenant,
        revision: creation.revision, phase: .retiring)
      if pool != nil { pools[creation.pool]?.retiring += 1 }
      actions.append(.retire(vm: vm))
      if pool != nil { reconcile(creation.pool, now) }
      return
    }
    let added = withPool(creation.pool) { pool in
      defer { pool.backoff = RefillBackoff() }
      pool.limitedBy = nil
      return (number: pool.addToStock(vm), hasFailed: pool.backoff.failures > 0)
    }
    vms[vm] = VMRecord(
      pool: creation.pool, footprint: footprint, tenant: pool.tenant, revision: creation.revision,
      stockNumber: added?.number ?? 0, phase: .ready)
    if added?.hasFailed == true { actions.append(.note(pool: creation.name, .recovered)) }
    reconcile(creation.pool, now)
  }

  /// A VM that was asked for could not be made; nothing of it is left. `jitter` is a random number of 0...1.
  mutating func failed(_ creation: Creation, _ detail: String, now: UInt64, jitter: Double) {
    let (pool, holds) = creation.boot == nil ? (endCreation(creation), true) : endBoot(creation)
    freeRoom(creation.specification.footprint, of: creation.tenant)
    if let pool, holds, !isClosed, pool.revision == creation.revision {
      if let next = pools[creation.pool]?.backoff.failed(detail, now: now, jitter: jitter) {
        timers.insert(Timer(at: next, kind: .retry))
        actions.append(.note(pool: pool.name, .failing(detail)))
      }
    }
    if pool != nil { reconcile(creation.pool, now) }
    useFreedRoom(now)
  }

  /// Takes it off the count of those being made; nil when its pool is gone.
  private mutating func endCreation(_ creation: Creation) -> PoolState? {
    creationsInFlight -= 1
    guard let pool = pools[creation.pool] else { return nil }
    if pool.revision == creation.revision {
      pools[creation.pool]?.creating -= 1
    } else {
      pools[creation.pool]?.creatingOutdated -= 1
    }
    return pool
  }

  /// There is room in the host again: pools that lacked it may use it.
  mutating func useFreedRoom(_ now: UInt64) {
    for key in underfilled { makeRoom(key, now) }
  }

  /// Where VMs of an old declaration stand in the way of new ones, one of them goes, if that leaves the pool enough.
  mutating func makeRoom(_ key: PoolKey, _ now: UInt64) {
    guard let oldest = withPool(key, { $0.replaceable }) ?? nil, let record = vms[oldest], let pool = pools[key] else {
      return
    }
    let lacksRoom = refusal(of: pool.specification.vm.footprint, for: pool.tenant) != nil
    // They are served until a new template is there; it may need the room of one, once.
    let isDue =
      pool.hasSource ? pool.isFull || lacksRoom : pool.lacksTemplate && pool.backoff.failures == 0 && lacksRoom
    if isDue { retire(oldest, record) }
  }
}
