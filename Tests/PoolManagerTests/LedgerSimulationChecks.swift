import Access
import MachineRuntime

@testable import PoolManager

extension LedgerSimulation {
  /// What is counted where it changes is what counting finds.
  mutating func checkTenants() {
    var counted: [Tenant: TenantBook.Usage] = [:]
    func add(_ footprint: Footprint, _ tenant: Tenant) {
      counted[tenant, default: TenantBook.Usage()].vms += 1
      counted[tenant]?.vcpus += footprint.threads
      counted[tenant]?.memoryKiB += footprint.memoryKiB
    }
    for (id, record) in ledger.vms {
      let owner = record.pool.flatMap { ledger.pools[$0]?.tenant }
      if case .leased(let lease) = record.phase {
        if ledger.leases[lease]?.tenant != record.tenant {
          fail("\(id) counts for \(record.tenant), whose lease it is not")
        }
      } else if let owner, owner != record.tenant {
        fail("\(id) counts for \(record.tenant), and its pool for \(owner)")
      }
      add(record.footprint, record.tenant)
    }
    for creation in creations { add(creation.specification.footprint, creation.tenant) }
    for pool in ledger.pools.values where pool.template == .ready { add(pool.specification.vm.footprint, pool.tenant) }
    for lease in ledger.leases.values { counted[lease.tenant, default: TenantBook.Usage()].leases += 1 }
    for tenant in queues.tenants.values { counted[tenant, default: TenantBook.Usage()].waiting += 1 }
    if ledger.tenants.usage != counted { fail("\(ledger.tenants.usage) is counted, and there is \(counted)") }
  }

  /// Lets everything come to its end: no client asks for anything, and nothing fails. Every pool is then as declared, unless
  /// the host has no room for that.
  mutating func comeToRest() {
    ledger.declareTenants([:], now: now)
    for lease in unconfirmed { ledger.confirm(lease, now: now) }
    unconfirmed = []
    for round in 0..<100 {
      now += 1_000_000_000
      ledger.tick(now: now)
      act()
      while let creation = creations.popLast() {
        let vm = "vm-rest-\(round)-\(nextNumber)"
        nextNumber += 1
        alive.insert(vm)
        finish(creation, vm)
        act()
      }
      while !resetting.isEmpty {
        finishReset(at: 0, 2)
        act()
      }
      while let vm = retiring.popLast() {
        alive.remove(vm)
        ledger.retired(vm, now: now)
        act()
      }
      check()
    }
    for book in ledger.pools.values where !book.isDraining && !book.specification.isPaused {
      let isFilled = book.ready.count == book.specification.ready.upperBound
      let hasNoRoom = book.isFull || ledger.budget.refusal(of: book.specification.vm.footprint) != nil
      if !isFilled, !hasNoRoom { fail("\(book.name) is not filled: \(book)") }
      if book.outdated.count > 0, !hasNoRoom { fail("\(book.name) still has old VMs") }
    }
    if !holders.isEmpty { fail("leases have not expired") }
    if !queues.pools.isEmpty { fail("somebody still waits") }
  }
}

/// Who waits for which pool, and how many VMs others were given meanwhile: the fairness that is promised, checked without the
/// queue's own arithmetic.
struct FairnessAccount {
  private struct Line {
    var waiters: [UInt64] = []
    /// VMs that others were given since its first became its first.
    var passed: [Tenant: Int] = [:]
  }

  let weights: [Tenant: Int]
  /// The pool and the tenant of each that waits.
  private(set) var pools: [UInt64: String] = [:]
  private(set) var tenants: [UInt64: Tenant] = [:]
  private var lines: [String: [Tenant: Line]] = [:]

  init(weights: [Tenant: Int]) { self.weights = weights }

  func isWaiting(_ pool: String) -> Bool { lines[pool]?.isEmpty == false }
  func count(_ pool: String) -> Int { (lines[pool] ?? [:]).values.reduce(0) { $0 + $1.waiters.count } }

  mutating func came(_ id: UInt64, _ tenant: Tenant, to pool: String) {
    pools[id] = pool
    tenants[id] = tenant
    lines[pool, default: [:]][tenant, default: Line()].waiters.append(id)
  }

  /// It is answered without a VM. False where it does not wait.
  mutating func left(_ id: UInt64) -> Bool {
    guard let pool = pools.removeValue(forKey: id), let tenant = tenants.removeValue(forKey: id) else { return false }
    lines[pool]?[tenant]?.waiters.removeAll { $0 == id }
    if lines[pool]?[tenant]?.waiters.isEmpty == true { lines[pool]?[tenant] = nil }
    return true
  }

  /// It is given a VM: what is wrong with that.
  mutating func served(_ id: UInt64, _ tenant: Tenant) -> String? {
    guard let pool = pools[id] else { return "\(id) was answered twice" }
    guard tenants[id] == tenant else { return "\(id) got a lease of \(tenant)" }
    let isFirst = lines[pool]?[tenant]?.waiters.first == id
    _ = left(id)
    guard isFirst else { return "\(id) was served before others of \(tenant) in \(pool)" }
    lines[pool]?[tenant]?.passed = [:]
    for other in (lines[pool] ?? [:]).keys where other != tenant {
      lines[pool]?[other]?.passed[tenant, default: 0] += 1
      let passed = lines[pool]?[other]?.passed[tenant] ?? 0
      let most = (weight(tenant) + weight(other) - 1) / weight(other) + 1
      if passed > most { return "\(passed) of \(tenant) were served while \(other) was first of its line in \(pool)" }
    }
    return nil
  }

  private func weight(_ tenant: Tenant) -> Int { weights[tenant] ?? 1 }
}
