import Access
import Foundation
import LinuxSupport
import MachineRuntime
import Synchronization

// Leases: asked for, extended and ended.

extension Fleet {
  /// Takes a VM out of a pool's stock. Where there is none, waits in the pool's queue for as long as the request says;
  /// `later` is called then, once, on any thread.
  ///
  /// A lease that this returns is on record. Its VM is ready, and the request's arguments are in its memory.
  public func lease(
    from pool: String, _ request: LeaseRequest, later: @escaping @Sendable (Result<Lease, LeaseRefusal>) -> Void
  ) throws(LeaseRefusal) -> LeaseAnswer {
    let leaseID = newLeaseID()
    let (result, work) = updateDeferring { tables, now -> Result<(Lease?, UInt64), LeaseRefusal> in
      let id = tables.token()
      let (end, overflows) = now.addingReportingOverflow(request.waitNS)
      let waiter = Waiter(
        id: id, tenant: request.origin.tenant, leaseID: leaseID, ttlNS: request.ttlNS,
        untilNS: overflows ? .max : end)
      do throws(LeaseRefusal) {
        guard let grant = try tables.ledger.lease(from: pool, waiter, now: now) else {
          let measurements = tables.ledger.keys[pool].flatMap { tables.measurements[$0] } ?? standalone
          tables.waiting[id] = Waiting(request: request, sinceNS: now, measurements: measurements, notify: later)
          return .success((nil, id))
        }
        return .success((enter(grant, request, since: now, &tables, now), id))
      } catch {
        count(error, pool, tables)
        return .failure(error)
      }
    }
    // Last: making the next VM keeps a processor busy.
    defer { for job in work { job() } }
    let (lease, token) = try result.get()
    guard let lease else { return .waiting(LeaseWait(id: token, pool: pool)) }
    return .granted(try handOver(lease, request).get())
  }

  /// An id that no other lease has or had. Its number is the time, so that a new lease's record goes to the end of all records.
  /// The journal makes an id of it from which no client learns the time, or the next id.
  private func newLeaseID() -> String {
    let now = WallClock.now()
    var last = lastLeaseNumber.load(ordering: .relaxed)
    while true {
      let number = max(last + 1, now)
      let (isExchanged, found) = lastLeaseNumber.weakCompareExchange(
        expected: last, desired: number, ordering: .relaxed)
      if isExchanged { return journal?.id(ofLease: number) ?? "lease-" + hex(number, digits: 16) }
      last = found
    }
  }

  // MARK: Handing over

  /// Enters a grant into the tables. No client knows of it before `handOver`.
  func enter(
    _ grant: Ledger.LeaseGrant, _ request: LeaseRequest, since: UInt64, _ tables: inout Tables, _ now: UInt64
  ) -> Lease? {
    guard let vm = tables.vms[grant.vm], let pool = vm.pool else { return nil }
    let wall = Date()
    let lease = Lease(
      id: grant.id, tenant: grant.tenant, pool: pool, vm: vm, fence: grant.fence, labels: request.labels,
      grantedAt: wall,
      expiresAt: wall.adding(ns: grant.expiresNS - now), lastsUntil: wall.adding(ns: grant.lastNS - now))
    vm.setLease((lease.id, lease.fence, lease.tenant))
    tables.vms.setTenant(vm.id, vm.tenant)
    tables.pending[lease.id] = PendingGrant(lease: lease, pool: grant.pool, waitNS: now - since)
    return lease
  }

  /// Records the lease, and prepares its VM. Where either fails there never was a lease.
  func handOver(_ lease: Lease, _ request: LeaseRequest) -> Result<Lease, LeaseRefusal> {
    do throws(LeaseRefusal) {
      // The guest of a run works while its lease is recorded. Not where that may fail: its VM would be lost.
      let startsFirst = request.begin != nil && journal?.canRecord != false
      if startsFirst { try prepare(lease, request) }
      do throws(JournalFailure) {
        try journal?.granted(lease, by: request.origin)
      } catch {
        withdraw(lease, keepsVM: !startsFirst)
        throw .notRecorded(error)
      }
      if !startsFirst {
        do throws(LeaseRefusal) { try prepare(lease, request) } catch {
          // It is on record, so its end has to be, too.
          endRecorded(lease)
          throw error
        }
      }
    } catch {
      lease.vm.measurements.leases.count(error)
      return .failure(error)
    }
    announce(lease)
    return .success(lease)
  }

  private func prepare(_ lease: Lease, _ request: LeaseRequest) throws(LeaseRefusal) {
    do throws(MachineControlError) {
      if !request.arguments.isEmpty { try lease.vm.machine.setArguments(request.arguments) }
    } catch {
      withdraw(lease, keepsVM: false)
      throw .argumentsRefused(vm: lease.vm.id, error)
    }
    request.begin?(lease)
  }

  /// Takes a grant back of which no client knows: it is neither counted nor published. Its VM goes back to the stock, or
  /// is taken apart where it may have been touched.
  private func withdraw(_ lease: Lease, keepsVM: Bool) {
    update { tables, now in
      guard let pending = tables.pending.removeValue(forKey: lease.id), pending.ended == nil else { return }
      if keepsVM {
        lease.vm.setLease(nil)
        tables.vms.setTenant(lease.vm.id, lease.vm.tenant)
        _ = tables.ledger.undoGrant(lease.id, now: now)
      } else {
        _ = tables.ledger.end(lease.id, now: now)
      }
    }
  }

  private func endRecorded(_ lease: Lease) {
    let ended = EndedLease(
      id: lease.id, tenant: lease.tenant, pool: lease.pool, end: .abandoned, at: Date(), origin: .server)
    update { tables, _ in tables.ending[lease.id] = Ending(lease: ended) }
    recordEnds(of: [lease.id])
  }

  /// The lease is on record: from now on it can be found, and it is counted and published.
  private func announce(_ lease: Lease) {
    let hasEnded = update { tables, now in
      guard let pending = tables.pending.removeValue(forKey: lease.id) else { return false }
      lease.vm.measurements.leaseWait.record(ns: pending.waitNS)
      lease.vm.measurements.leases.count(LeaseCounts.Result.granted)
      observe(.lease(lease, isNew: true))
      guard let (end, origin) = pending.ended else {
        tables.ledger.confirm(lease.id, now: now)
        tables.leases.insert(
          lease, id: lease.id, number: lease.fence, pool: pending.pool, tenant: lease.tenant, state: "")
        return false
      }
      noteEnd(of: lease, end, by: origin, &tables)
      return true
    }
    if hasEnded { recordEnds(of: [lease.id]) }
  }

  /// Gives up waiting; false where the answer is on its way already.
  public func leave(_ wait: LeaseWait) -> Bool {
    update { tables, now in
      guard tables.ledger.leave(wait.id, pool: wait.pool, now: now) else { return false }
      tables.waiting.removeValue(forKey: wait.id)?.measurements.leases.count(LeaseCounts.Result.abandoned)
      return true
    }
  }

  // MARK: Those there are

  /// The lease of that id, unless it has ended, or is not there for `viewer`.
  public func lease(_ id: String, for viewer: Viewer = .everything) -> Lease? {
    read { $0.leases[id] }.flatMap { viewer.sees($0) ? $0 : nil }
  }

  /// All leases of a pool, or all there are, in the order in which they were granted.
  public func leases(of pool: String? = nil) -> [Lease] { leases(of: pool, after: nil, limit: .max).leases }

  /// A page of the leases that `viewer` sees of a pool, or of all pools (nil). They are in the order of their fences, after `fence`.
  /// Returns `next` where more follow.
  public func leases(
    of pool: String?, for viewer: Viewer = .everything, after fence: UInt64?, limit: Int
  ) -> (leases: [Lease], next: UInt64?) {
    let found = page(after: fence, limit: limit, where: { viewer.sees($0) }) { tables, last, size in
      guard let pool else { return tables.leases.page(ofTenant: viewer.tenant, after: last, limit: size) }
      return tables.ledger.keys[pool].map { tables.leases.page(of: $0, after: last, limit: size) } ?? []
    }
    return (found.items, found.next)
  }

  /// Lets a lease last for `ttlNS` from now, or as long as it may. It never ends earlier than it would have, unless
  /// `shortens`. Nil where there is none (any more). An extension that cannot be recorded does not hold.
  public func extend(
    _ id: String, ttlNS: UInt64, shortens: Bool = false, by origin: Origin
  ) throws(JournalFailure) -> Lease? {
    let now = MonotonicClock.now()
    let planned = read { tables -> (lease: Lease, isChange: Bool)? in
      guard let old = tables.leases[id], let before = tables.ledger.leases[id],
        let after = tables.ledger.extended(id, ttlNS: ttlNS, shortens: shortens, now: now)
      else { return nil }
      return (old.extended(to: after, now), after.expiresNS != before.expiresNS)
    }
    guard let planned else { return nil }
    guard planned.isChange else { return lease(id) }
    do throws(JournalFailure) {
      try journal?.extended(planned.lease, by: origin)
    } catch {
      // A lease that has ended meanwhile cannot be recorded as extended.
      if lease(id) == nil { return nil }
      throw error
    }
    return update { tables, now in
      guard let old = tables.leases[id],
        let grant = tables.ledger.extend(id, ttlNS: ttlNS, shortens: shortens, now: now)
      else { return nil }
      let lease = old.extended(to: grant, now)
      tables.leases.replace(id, with: lease)
      observe(.lease(lease, isNew: false))
      return lease
    }
  }

  // MARK: Ending

  /// Ends a lease: the VM is reset, or taken apart and replaced, off the caller's path. False where there is none (any more).
  public func end(_ id: String, as end: LeaseEnd, by origin: Origin) -> Bool {
    guard let aftermath = endAtOnce(id, end, by: origin) else { return false }
    aftermath()
    return true
  }

  /// Ends a lease: every later look finds it ended. Call the returned closure when the answer is on its way. Another thread
  /// then records the end, takes the VM apart and replaces it. Done at once, that would keep the processors from the answer.
  public func endFirst(_ id: String, as end: LeaseEnd, by origin: Origin) -> @Sendable () -> Void {
    let aftermath = endAtOnce(id, end, by: origin)
    return { [self] in if let aftermath { deliver(aftermath) } }
  }

  /// Takes a lease out of the tables. The returned closure records that, and has the VM reset or replaced.
  private func endAtOnce(_ id: String, _ end: LeaseEnd, by origin: Origin) -> (@Sendable () -> Void)? {
    let (hasEnded, work) = updateDeferring { tables, now in
      guard tables.ledger.end(id, now: now) != nil else { return false }
      forget(id, end, by: origin, &tables)
      return true
    }
    guard hasEnded else {
      for job in work { job() }
      return nil
    }
    return { [self] in
      for job in work { job() }
      // With those that could not be recorded before.
      recordEnds(of: [id] + read { tables in tables.ending.filter { $0.value.hasFailed }.map(\.key) })
    }
  }

  /// How a past lease ended; nil where that is not known, or there never was such a lease for `viewer`.
  public func endOfLease(_ id: String, for viewer: Viewer = .everything) throws(JournalFailure) -> LeaseEnd? {
    // In this order: it is recorded before it is taken out of the table.
    let ending = read { $0.ending[id]?.lease }
    let past: PastLease? =
      if let ending {
        PastLease(end: ending.end, tenant: ending.tenant, pool: ending.pool)
      } else {
        try journal?.end(of: id)
      }
    guard let past, viewer.sees(past.tenant, pool: past.pool) else { return nil }
    return past.end
  }

  /// Takes a lease that has ended out of the tables. A lease that is not on record yet ends when it is.
  func forget(_ id: String, _ end: LeaseEnd, by origin: Origin, _ tables: inout Tables) {
    if let pending = tables.pending[id] {
      pending.lease.vm.setLease(nil)
      tables.pending[id]?.ended = (end, origin)
    } else if let lease = tables.leases.remove(id)?.item {
      lease.vm.setLease(nil)
      noteEnd(of: lease, end, by: origin, &tables)
    }
  }

  private func noteEnd(of lease: Lease, _ end: LeaseEnd, by origin: Origin, _ tables: inout Tables) {
    tables.ending[lease.id] = Ending(
      lease: EndedLease(id: lease.id, tenant: lease.tenant, pool: lease.pool, end: end, at: Date(), origin: origin))
    lease.vm.measurements.leases.count(end)
    tables.past.insert(lease)
    observe(.ended(lease, end))
  }

  /// Records the ends of those of the leases that have ended, where that was not done yet.
  func recordEnds(of ids: [String]) {
    let ended = read { tables in ids.compactMap { tables.ending[$0]?.lease } }
    guard !ended.isEmpty else { return }
    do throws(JournalFailure) {
      _ = try journal?.ended(ended)
      update { tables, _ in
        for lease in ended { tables.ending[lease.id] = nil }
      }
    } catch {
      // They have ended all the same. Should the server end before that can be recorded, the next one will call them
      // lost.
      update { tables, _ in
        for lease in ended { tables.ending[lease.id]?.hasFailed = true }
      }
      observe(.journal(error))
    }
  }

  private func count(_ refusal: LeaseRefusal, _ pool: String, _ tables: borrowing Tables) {
    guard let key = tables.ledger.keys[pool] else { return }
    tables.measurements[key]?.leases.count(refusal)
  }
}

extension Lease {
  fileprivate func extended(to grant: Ledger.LeaseGrant, _ now: UInt64) -> Lease {
    let isLast = grant.expiresNS == grant.lastNS
    return Lease(
      id: id, tenant: tenant, pool: pool, vm: vm, fence: fence, labels: labels, grantedAt: grantedAt,
      expiresAt: isLast ? lastsUntil : Date().adding(ns: grant.expiresNS - now), lastsUntil: lastsUntil)
  }
}

extension Date {
  fileprivate func adding(ns: UInt64) -> Date { addingTimeInterval(Double(ns) / 1e9) }
}
