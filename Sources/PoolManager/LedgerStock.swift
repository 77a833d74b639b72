import Access
import MachineRuntime

// What happens to single VMs: made by hand, taken out of a stock, and taken apart.

extension Ledger {
  // MARK: By hand

  /// Takes a VM's place in the host, before it is made.
  mutating func reserve(_ footprint: Footprint, for tenant: Tenant) -> RoomRefusal? {
    if let refusal = refusal(of: footprint, for: tenant) { return refusal }
    takeRoom(footprint, for: tenant)
    return nil
  }

  /// Gives the place back: the VM could not be made.
  mutating func unreserve(_ footprint: Footprint, of tenant: Tenant, now: UInt64) {
    freeRoom(footprint, of: tenant)
    useFreedRoom(now)
  }

  /// The VM for which a place was reserved has been made.
  mutating func madeByHand(_ vm: String, _ footprint: Footprint, for tenant: Tenant) {
    vms[vm] = VMRecord(pool: nil, footprint: footprint, tenant: tenant, phase: .taken)
  }

  /// A client controls a pool's VM without a lease: it leaves the pool's stock. Returns false where it is being taken
  /// apart, or is not there.
  mutating func take(_ vm: String, now: UInt64) -> Bool {
    guard let record = vms[vm] else { return false }
    switch record.phase {
    case .resetting, .retiring, .quarantined: return false
    case .taken, .leased: return true
    case .ready, .outdated:
      guard let key = record.pool else { return true }
      withPool(key) { pool in
        pool.removeFromStock(record)
        pool.taken += 1
      }
      vms[vm]?.phase = .taken
      reconcile(key, now)
      return true
    }
  }

  // MARK: Taken apart

  /// A client deletes a VM: from now on it cannot be found. Returns false where there is none.
  mutating func delete(_ vm: String, now: UInt64) -> Bool {
    guard let record = vms[vm] else { return false }
    switch record.phase {
    case .resetting, .retiring, .quarantined: return false
    case .taken, .ready, .outdated, .leased: break
    }
    if case .leased(let id) = record.phase, let grant = leases[id] { actions.append(.ended(grant, .vmDeleted)) }
    beginRetiring(vm, record)
    if let key = record.pool { reconcile(key, now) }
    return true
  }

  /// Every trace of a VM is gone.
  mutating func retired(_ vm: String, now: UInt64) {
    guard let record = vms.removeValue(forKey: vm) else { return }
    freeRoom(record.footprint, of: record.tenant)
    if let key = record.pool {
      if record.phase == .quarantined { pools[key]?.quarantined -= 1 } else { pools[key]?.retiring -= 1 }
      reconcile(key, now)
    }
    useFreedRoom(now)
  }

  /// A VM could not be taken apart in time, or did not come to a stand for its reset. The caller goes on taking it apart.
  /// Returns false where that is known, or it is gone.
  @discardableResult
  mutating func quarantined(_ vm: String, now: UInt64) -> Bool {
    resetFailed(vm, now: now)
    guard let record = vms[vm], record.phase == .retiring else { return false }
    vms[vm]?.phase = .quarantined
    let name = record.pool.flatMap { pools[$0]?.name }
    actions.append(.note(pool: name, .quarantined(vm: vm)))
    if let key = record.pool {
      pools[key]?.retiring -= 1
      pools[key]?.quarantined += 1
      reconcile(key, now)
    }
    return true
  }

  mutating func retire(_ vm: String, _ record: VMRecord) {
    beginRetiring(vm, record)
    actions.append(.retire(vm: vm))
  }

  mutating func beginRetiring(_ vm: String, _ record: VMRecord) {
    vms[vm]?.phase = .retiring
    var wasConfirmed = true
    if case .leased(let id) = record.phase, let grant = removeLease(id) { wasConfirmed = grant.isConfirmed }
    guard let key = record.pool else { return }
    withPool(key) { pool in
      switch record.phase {
      case .taken: pool.taken -= 1
      case .ready, .outdated: pool.removeFromStock(record)
      case .leased:
        pool.leased -= 1
        if !wasConfirmed { pool.unconfirmed -= 1 }
      case .resetting, .retiring, .quarantined: return
      }
      pool.retiring += 1
    }
    if let owner = withPool(key, { $0.tenant }) { move(vm, to: owner) }
  }
}
