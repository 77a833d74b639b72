import Access
import HeapModule

// Leases: granted, queued for, extended and ended; and time, which ends them.

extension Ledger {
  /// A client wants a VM. Nil: it waits in the queue, and an action will say what becomes of it.
  mutating func lease(
    from name: String, _ waiter: Waiter, now: UInt64
  ) throws(LeaseRefusal) -> LeaseGrant? {
    if isClosed { throw .draining }
    guard let key = keys[name], let (isDraining, waiting) = withPool(key, { ($0.isDraining, $0.queue.count) }) else {
      throw .noSuchPool
    }
    if isDraining { throw .poolDeleted }
    if let refusal = quotaRefusal(of: waiter, key) { throw .quota(refusal) }
    // Those who wait have come first.
    if waiting == 0, let granted = grant(waiter, key, now) {
      reconcile(key, now)
      return granted
    }
    if waiter.untilNS > now, let refusal = tenants.refusalToWait(for: waiter.tenant) { throw .quota(refusal) }
    guard waiter.untilNS > now, waiting < limits.waiters || makePlace(for: waiter, key) else {
      noteExhaustion(key)
      throw exhausted(key, waiting: waiting, hasWaited: false)
    }
    withPool(key) { $0.queue.insert(waiter) }
    tenants.addWaiting(1, for: waiter.tenant)
    addTimer(Timer(at: waiter.untilNS, kind: .waiter(key, waiter.id)))
    noteExhaustion(key)
    reconcile(key, now)
    return nil
  }

  private mutating func noteExhaustion(_ key: PoolKey) {
    guard let pool = pools[key], !pool.isExhausted else { return }
    pools[key]?.isExhausted = true
    actions.append(.note(pool: pool.name, .exhausted))
  }

  private func exhausted(_ key: PoolKey, waiting: Int, hasWaited: Bool) -> LeaseRefusal {
    .exhausted(waiting: waiting, reason: pools[key]?.shortage(hasWaited: hasWaited))
  }

  /// Why the tenant may not have a lease of the pool's next VM. A VM of another tenant's pool will count for it, too.
  private mutating func quotaRefusal(of waiter: Waiter, _ key: PoolKey) -> QuotaRefusal? {
    if let refusal = tenants.refusalOfLease(for: waiter.tenant) { return refusal }
    guard let (owner, next, footprint) = withPool(key, { ($0.tenant, $0.nextInStock, $0.specification.vm.footprint) }),
      owner != waiter.tenant
    else { return nil }
    return tenants.refusal(of: next.flatMap { vms[$0]?.footprint } ?? footprint, for: waiter.tenant)
  }

  /// Where the queue is full, a tenant with a long line in it gives a place to one with a shorter line.
  private mutating func makePlace(for waiter: Waiter, _ key: PoolKey) -> Bool {
    guard let last = withPool(key, { $0.queue.displaceable(by: waiter.tenant) }) ?? nil else { return false }
    let others = limits.waiters - 1
    refuse(last, key, exhausted(key, waiting: others, hasWaited: true))
    return true
  }

  /// Hands the VMs in stock to those that wait for them. A tenant that may not have one more keeps no other from its turn.
  mutating func serveQueue(_ key: PoolKey, _ now: UInt64) {
    while let (first, next) = withPool(key, { ($0.queue.first, $0.nextInStock) }), let waiter = first, next != nil {
      if let refusal = quotaRefusal(of: waiter, key) {
        refuse(waiter, key, .quota(refusal))
        continue
      }
      guard let granted = grant(waiter, key, now) else { return }
      let weight = tenants.weight(of: waiter.tenant)
      withPool(key) { _ = $0.queue.serveFirst(weight: weight) }
      tenants.addWaiting(-1, for: waiter.tenant)
      deadTimers += 1
      actions.append(.grant(waiter: waiter.id, granted))
    }
  }

  /// Takes a client out of the queue that gets no VM.
  mutating func refuse(_ waiter: Waiter, _ key: PoolKey, _ refusal: LeaseRefusal) {
    guard removeWaiter(waiter.id, key) else { return }
    deadTimers += 1
    actions.append(.refuse(waiter: waiter.id, refusal))
  }

  mutating func grant(_ waiter: Waiter, _ key: PoolKey, _ now: UInt64) -> LeaseGrant? {
    guard let vm = withPool(key, { $0.leaseFirst() }) ?? nil else { return nil }
    let last = now + limits.leaseNS
    let expires = min(now + waiter.ttlNS, last)
    let granted = LeaseGrant(
      id: waiter.leaseID, vm: vm, pool: key, tenant: waiter.tenant, fence: nextFence, grantedNS: now,
      expiresNS: expires,
      lastNS: last, timerNS: expires)
    nextFence += 1
    vms[vm]?.phase = .leased(granted.id)
    move(vm, to: waiter.tenant)
    leases[granted.id] = granted
    tenants.addLeases(1, for: waiter.tenant)
    addTimer(Timer(at: expires, kind: .lease(granted.id)))
    return granted
  }

  /// A grant is on record: another VM may be made in the place of the one that is leased.
  mutating func confirm(_ id: String, now: UInt64) {
    guard let granted = leases[id], !granted.isConfirmed else { return }
    leases[id]?.isConfirmed = true
    pools[granted.pool]?.unconfirmed -= 1
    reconcile(granted.pool, now)
  }

  /// Takes a grant back that is not confirmed, and of which no client knows. Its VM is untouched, and back in the stock. Returns
  /// false where the lease has ended.
  mutating func undoGrant(_ id: String, now: UInt64) -> Bool {
    guard let granted = leases[id], !granted.isConfirmed, let record = vms[granted.vm] else { return false }
    guard !isClosed, pools[granted.pool]?.isDraining == false else {
      retire(granted.vm, record)
      reconcile(granted.pool, now)
      return true
    }
    removeLease(id)
    if let owner = withPool(granted.pool, { $0.tenant }) { move(granted.vm, to: owner) }
    vms[granted.vm]?.phase = pools[granted.pool]?.revision == record.revision ? .ready : .outdated
    withPool(granted.pool) { $0.returnToStock(granted.vm, record) }
    reconcile(granted.pool, now)
    return true
  }

  /// A waiter gives up; false where its turn has come already.
  mutating func leave(_ waiter: UInt64, pool name: String, now: UInt64) -> Bool {
    guard let key = keys[name], removeWaiter(waiter, key) else { return false }
    deadTimers += 1
    reconcile(key, now)
    return true
  }

  private mutating func removeWaiter(_ waiter: UInt64, _ key: PoolKey) -> Bool {
    guard let removed = withPool(key, { $0.queue.remove(waiter) }) ?? nil else { return false }
    tenants.addWaiting(-1, for: removed.tenant)
    return true
  }

  /// When a lease would end that is extended to last `ttlNS` from now. That is never earlier than it ends already, unless
  /// the client wants to shorten it, and never later than it may last. Nil where there is none.
  func extended(_ id: String, ttlNS: UInt64, shortens: Bool, now: UInt64) -> LeaseGrant? {
    guard var granted = leases[id], granted.expiresNS > now else { return nil }
    let (wanted, overflows) = now.addingReportingOverflow(ttlNS)
    let expires = overflows ? .max : wanted
    granted.expiresNS = min(shortens ? expires : max(granted.expiresNS, expires), granted.lastNS)
    return granted
  }

  /// The holder is still there, and its lease ends as `extended` says. Nil where there is none.
  mutating func extend(_ id: String, ttlNS: UInt64, shortens: Bool = false, now: UInt64) -> LeaseGrant? {
    guard var granted = extended(id, ttlNS: ttlNS, shortens: shortens, now: now) else { return nil }
    // A timer that comes too early is set again then: a heartbeat costs none.
    if granted.expiresNS < granted.timerNS {
      granted.timerNS = granted.expiresNS
      addTimer(Timer(at: granted.expiresNS, kind: .lease(id)))
    }
    leases[id] = granted
    return granted
  }

  /// Ends a lease; nil where there is none.
  mutating func end(_ id: String, now: UInt64) -> LeaseGrant? {
    guard let granted = leases[id], let record = vms[granted.vm] else { return nil }
    giveBack(granted.vm, record)
    reconcile(granted.pool, now)
    return granted
  }

  @discardableResult
  mutating func removeLease(_ id: String) -> LeaseGrant? {
    guard let granted = leases.removeValue(forKey: id) else { return nil }
    tenants.addLeases(-1, for: granted.tenant)
    deadTimers += 1
    return granted
  }

  // MARK: Time

  /// Time has passed.
  mutating func tick(now: UInt64) {
    while let timer = timers.min, timer.at <= now {
      timers.removeMin()
      switch timer.kind {
      case .lease(let id): leaseTimer(id, now)
      case .waiter(let key, let waiter):
        guard removeWaiter(waiter, key) else { continue }
        let others = pools[key]?.queue.count ?? 0
        actions.append(.refuse(waiter: waiter, exhausted(key, waiting: others, hasWaited: true)))
        reconcile(key, now)
      case .retry: useFreedRoom(now)
      }
    }
  }

  private mutating func leaseTimer(_ id: String, _ now: UInt64) {
    guard let granted = leases[id] else { return }
    if granted.expiresNS > now {
      guard granted.timerNS <= now else { return }
      leases[id]?.timerNS = granted.expiresNS
      timers.insert(Timer(at: granted.expiresNS, kind: .lease(id)))
    } else if let ended = end(id, now: now) {
      actions.append(.ended(ended, .expired))
    }
  }

  /// Adds a timer. A lease that is released early leaves its timer behind, for a day perhaps: when those are the most,
  /// all of them go.
  private mutating func addTimer(_ timer: Timer) {
    timers.insert(timer)
    guard deadTimers > 64, deadTimers > timers.count / 2 else { return }
    deadTimers = 0
    timers = Heap(
      timers.unordered.filter { timer in
        switch timer.kind {
        case .lease(let id): leases[id]?.timerNS == timer.at
        case .waiter(let key, let waiter): pools[key]?.queue[waiter] != nil
        case .retry: true
        }
      })
  }
}
