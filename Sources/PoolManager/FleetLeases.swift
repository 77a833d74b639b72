import Foundation
import LinuxSupport
import MachineRuntime

// Leases: asked for, extended and ended.

extension Fleet {
  /// Takes a VM out of a pool's stock for somebody. Where there is none, waits in the pool's queue for as long as the
  /// request says; `later` is called then, once, on any thread.
  ///
  /// When this returns a lease it is recorded. Its VM is ready, and told what its guest should be told.
  public func lease(
    from pool: String, _ request: LeaseRequest, later: @escaping @Sendable (Result<Lease, LeaseRefusal>) -> Void
  ) throws(LeaseRefusal) -> LeaseAnswer {
    let (result, work) = change { tables, now -> Result<(Lease?, UInt64), LeaseRefusal> in
      let id = tables.nextToken
      tables.nextToken += 1
      let (end, overflows) = now.addingReportingOverflow(request.waitNS)
      let waiter = Waiter(
        id: id, leaseID: nextLeaseID(&tables), ttlNS: request.ttlNS, untilNS: overflows ? .max : end)
      do throws(LeaseRefusal) {
        guard let holding = try tables.ledger.lease(from: pool, waiter, now: now) else {
          let measurements = tables.ledger.names[pool].flatMap { tables.measurements[$0] } ?? byHand
          tables.waiting[id] = Waiting(request: request, sinceNS: now, measurements: measurements, tell: later)
          return .success((nil, id))
        }
        return .success((enter(holding, request, since: now, &tables, now), id))
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

  /// An id that no other lease has or had: the time. So what is recorded of a new lease goes to the end of what is
  /// recorded.
  private func nextLeaseID(_ tables: inout Tables) -> String {
    tables.lastLeaseID = max(tables.lastLeaseID + 1, WallClock.now())
    return "lease-" + hex(tables.lastLeaseID, digits: 16)
  }

  /// Enters a hand-over into the tables.
  func enter(
    _ holding: Ledger.Holding, _ request: LeaseRequest, since: UInt64, _ tables: inout Tables, _ now: UInt64
  ) -> Lease? {
    guard let vm = tables.vms[holding.vm], let pool = vm.pool else { return nil }
    let wall = Date()
    let lease = Lease(
      id: holding.id, pool: pool, vm: vm, fence: holding.fence, labels: request.labels, grantedAt: wall,
      expiresAt: wall.adding(ns: holding.expiresNS - now), lastsUntil: wall.adding(ns: holding.lastNS - now))
    vm.setLease((lease.id, lease.fence))
    tables.leases[lease.id] = lease
    vm.measurements.leaseWait.record(ns: now - since)
    vm.measurements.leases.count(LeaseCounts.Result.granted)
    observe(.lease(lease, isNew: true))
    return lease
  }

  /// Tells the VM's guest what it should be told, and records the lease; where either cannot be done it never was.
  func handOver(_ lease: Lease, _ request: LeaseRequest) -> Result<Lease, LeaseRefusal> {
    do throws(MachineControlError) {
      if !request.arguments.isEmpty { try lease.vm.machine.tell(request.arguments) }
    } catch {
      undo(lease, .abandoned)
      return .failure(.untold(vm: lease.vm.id, error))
    }
    request.begin?(lease)
    do throws(JournalFailure) {
      try journal?.granted(lease, by: request.origin)
    } catch {
      undo(lease, .notRecorded)
      return .failure(.notRecorded(error))
    }
    // It may have ended while it was recorded; then its end may have come too early for that.
    recordEnds(of: [lease.id])
    return .success(lease)
  }

  /// Ends a lease of which there is no record: neither is there anything whose end could be recorded.
  private func undo(_ lease: Lease, _ end: LeaseEnd) {
    _ = self.end(lease.id, end, by: .server)
    step { tables, _ in tables.ending[lease.id] = nil }
  }

  /// Gives up waiting; false where the answer is on its way already.
  public func leave(_ wait: LeaseWait) -> Bool {
    step { tables, now in
      guard tables.ledger.leave(wait.id, pool: wait.pool, now: now) else { return false }
      tables.waiting.removeValue(forKey: wait.id)?.measurements.leases.count(LeaseCounts.Result.abandoned)
      return true
    }
  }

  /// The lease of that id, unless it has ended.
  public func lease(_ id: String) -> Lease? { look { $0.leases[id] } }

  /// All leases of a pool, or all there are, in the order in which they were granted.
  public func leases(of pool: String? = nil) -> [Lease] {
    look { Array($0.leases.values) }.filter { pool == nil || $0.pool == pool }.sorted { $0.fence < $1.fence }
  }

  /// Lets a lease last for `ttlNS` from now, or as long as it may. Nil where there is none (any more).
  public func extend(_ id: String, ttlNS: UInt64, by origin: Origin) throws(JournalFailure) -> Lease? {
    let extended = step { tables, now -> Lease? in
      guard let holding = tables.ledger.extend(id, ttlNS: ttlNS, now: now), let old = tables.leases[id] else {
        return nil
      }
      let lease = Lease(
        id: old.id, pool: old.pool, vm: old.vm, fence: old.fence, labels: old.labels, grantedAt: old.grantedAt,
        expiresAt: Date().adding(ns: holding.expiresNS - now), lastsUntil: old.lastsUntil)
      tables.leases[id] = lease
      observe(.lease(lease, isNew: false))
      return lease
    }
    if let extended { try journal?.extended(extended, by: origin) }
    return extended
  }

  /// Ends a lease: the VM is taken apart and replaced, off the caller's path. False where there is none (any more).
  public func end(_ id: String, _ end: LeaseEnd, by origin: Origin) -> Bool {
    guard let aftermath = endAtOnce(id, end, by: origin) else { return false }
    aftermath()
    return true
  }

  /// Ends a lease for everybody who asks from now on. Recording that, and taking its VM apart and replacing it, begins on
  /// another thread when the returned closure is called: it would keep the processors from what is more urgent.
  public func endFirst(_ id: String, _ end: LeaseEnd, by origin: Origin) -> @Sendable () -> Void {
    let aftermath = endAtOnce(id, end, by: origin)
    return { [self] in if let aftermath { telling(aftermath) } }
  }

  /// Takes a lease out of the tables. What is returned records that, and has the VM taken apart and replaced.
  private func endAtOnce(_ id: String, _ end: LeaseEnd, by origin: Origin) -> (@Sendable () -> Void)? {
    let (ended, work) = change { tables, now -> Lease? in
      guard tables.ledger.end(id, now: now) != nil, let lease = tables.leases[id] else { return nil }
      forget(lease, end, by: origin, &tables)
      return lease
    }
    guard let ended else {
      for job in work { job() }
      return nil
    }
    return { [self] in
      for job in work { job() }
      // With those that could not be recorded before.
      recordEnds(of: [ended.id] + look { tables in tables.ending.filter { $0.value.hasFailed }.map(\.key) })
    }
  }

  /// How a lease ended that is no more; nil where it is not known, or never was.
  public func endOfLease(_ id: String) throws(JournalFailure) -> LeaseEnd? {
    // In this order: it is recorded before it is taken out of the table.
    if let ending = look({ $0.ending[id] }) { return ending.lease.end }
    return try journal?.end(of: id)
  }

  /// Takes a lease that has ended out of the tables.
  func forget(_ lease: Lease, _ end: LeaseEnd, by origin: Origin, _ tables: inout Tables) {
    tables.leases[lease.id] = nil
    tables.ending[lease.id] = Ending(lease: EndedLease(id: lease.id, end: end, at: Date(), origin: origin))
    lease.vm.setLease(nil)
    lease.vm.measurements.leases.count(end)
    tables.pastHoldings.append(lease.vm.id)
    if tables.pastHoldings.count > Self.pastHoldingLimit { tables.pastHoldings.removeFirst() }
    observe(.ended(lease, end))
  }

  /// Records the ends of those of the leases that have ended, where that was not done yet.
  func recordEnds(of ids: [String]) {
    let ended = look { tables in ids.compactMap { tables.ending[$0]?.lease } }
    guard !ended.isEmpty else { return }
    do throws(JournalFailure) {
      let others = Set(try journal?.ended(ended) ?? [])
      step { tables, _ in
        for lease in ended {
          // What is not on record as granted is about to be: whoever does that looks here again.
          if !others.contains(lease.id) { tables.ending[lease.id] = nil }
        }
      }
    } catch {
      // They have ended all the same, and are said to. Should the server end before a record of that can be made, they
      // will be said to have been lost with it.
      step { tables, _ in
        for lease in ended { tables.ending[lease.id]?.hasFailed = true }
      }
      observe(.journal(error))
    }
  }

  private func count(_ refusal: LeaseRefusal, _ pool: String, _ tables: borrowing Tables) {
    guard let key = tables.ledger.names[pool] else { return }
    tables.measurements[key]?.leases.count(refusal)
  }
}

extension Date {
  fileprivate func adding(ns: UInt64) -> Date { addingTimeInterval(Double(ns) / 1e9) }
}
