// Resets: a VM whose lease has ended goes back to its template, to be leased again, where its pool is short of VMs.

extension Ledger {
  /// A lease has ended: its VM is reset where that is of use, and taken apart otherwise.
  mutating func giveBack(_ vm: String, _ record: VMRecord) {
    beginRetiring(vm, record)
    guard !isClosed, let key = record.pool, pools[key]?.wantsBack(record) == true else {
      actions.append(.retire(vm: vm))
      return
    }
    vms[vm]?.phase = .resetting
    withPool(key) { pool in
      pool.retiring -= 1
      pool.resetting += 1
    }
    actions.append(.reset(vm: vm))
  }

  /// A VM has been reset, and is called `new` from now on. Returns false where it has no use any more, or has been given up:
  /// the caller takes it apart under its old name.
  mutating func reset(_ vm: String, as new: String, now: UInt64) -> Bool {
    guard var record = vms[vm], record.phase == .resetting, let key = record.pool, let pool = pools[key] else {
      return false
    }
    guard !isClosed, !pool.isDraining, pool.revision == record.revision else {
      resetFailed(vm, now: now)
      return false
    }
    vms[vm] = nil
    record.phase = .ready
    record.stockNumber =
      withPool(key) { pool in
        pool.resetting -= 1
        return pool.addToStock(new)
      } ?? 0
    vms[new] = record
    reconcile(key, now)
    return true
  }

  /// A VM could not be reset, or must not be used: it is being taken apart.
  mutating func resetFailed(_ vm: String, now: UInt64) {
    guard let record = vms[vm], record.phase == .resetting, let key = record.pool else { return }
    vms[vm]?.phase = .retiring
    withPool(key) { pool in
      pool.resetting -= 1
      pool.retiring += 1
    }
    reconcile(key, now)
  }
}
