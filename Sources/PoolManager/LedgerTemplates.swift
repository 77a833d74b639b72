// Templates: what the VMs of a pool are cloned from. A pool has one for the declaration that holds, or none.
//
// A template takes a VM's place in the host for as long as it is of use, and is no VM of its pool: `maxVMs` does not count it.

extension Ledger {
  /// The next template to make, if one is to be made now.
  mutating func nextTemplate(now: UInt64) -> Creation? {
    // The oldest pool first, so that the order does not depend on the set's.
    for key in underfilled.sorted() {
      guard let pool = pools[key], pool.mayBoot(now: now) else { continue }
      let (vm, footprint) = (pool.specification.vm, pool.specification.vm.footprint)
      if let refusal = refusal(of: footprint, for: pool.tenant) {
        limited(key, by: refusal)
        continue
      }
      takeRoom(footprint, for: pool.tenant)
      pools[key]?.template = .booting
      pools[key]?.booting += 1
      pools[key]?.limitedBy = nil
      reconcile(key, now)
      let boot = Boot(point: pool.specification.readyPoint, timeoutNS: pool.specification.readyTimeoutNS)
      return Creation(pool: key, name: pool.name, revision: pool.revision, specification: vm, boot: boot)
    }
    return nil
  }

  /// A template that was asked for is there. Returns false where it has no use any more: the caller lets go of it.
  mutating func booted(_ creation: Creation, now: UInt64) -> Bool {
    let (pool, holds) = endBoot(creation)
    guard let pool, holds else {
      freeRoom(creation.specification.footprint, of: creation.tenant)
      if pool != nil { reconcile(creation.pool, now) }
      useFreedRoom(now)
      return false
    }
    pools[creation.pool]?.template = .ready
    pools[creation.pool]?.backoff = RefillBackoff()
    if pool.backoff.failures > 0 { actions.append(.note(pool: creation.name, .recovered)) }
    reconcile(creation.pool, now)
    return true
  }

  /// Takes a template off the count of those being made. Returns its pool, nil where that is gone, and whether the pool
  /// still waits for this one.
  mutating func endBoot(_ creation: Creation) -> (pool: PoolState?, holds: Bool) {
    pools[creation.pool]?.booting -= 1
    guard let pool = pools[creation.pool] else { return (nil, false) }
    let holds = pool.revision == creation.revision && pool.template == .booting
    if holds { pools[creation.pool]?.template = .absent }
    return (pool, holds)
  }

  /// No more VMs are made of a pool's template. Its place in the host is free, or will be when it is given up.
  mutating func dropTemplate(_ key: PoolKey) {
    guard let pool = pools[key], pool.template != .absent else { return }
    if pool.template == .ready { freeRoom(pool.specification.vm.footprint, of: pool.tenant) }
    pools[key]?.template = .absent
    actions.append(.dropTemplate(revision: pool.revision))
  }
}
