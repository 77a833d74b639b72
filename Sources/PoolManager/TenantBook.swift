import Access
import MachineRuntime

/// What tenants may have, and what they have. Each count changes where what it counts changes.
struct TenantBook: Sendable {
  /// What one tenant has.
  struct Usage: Sendable, Equatable {
    /// VMs and templates, those being made and taken apart among them.
    var vms = 0
    var vcpus = 0
    var memoryKiB = 0
    var leases = 0
    var waiting = 0
  }

  /// What the operator says of them. It holds for what comes, and ends nothing that is there.
  var declarations: [Tenant: TenantDeclaration] = [:]
  /// Of those that have something.
  private(set) var usage: [Tenant: Usage] = [:]

  /// Its share of a pool's queue.
  func weight(of tenant: Tenant) -> Int { declarations[tenant]?.weight ?? 1 }

  /// Why a tenant may not have one VM more; nil if it may.
  func refusal(of footprint: Footprint, for tenant: Tenant) -> QuotaRefusal? {
    // Most servers have no quotas at all.
    guard let quotas = declarations[tenant]?.quotas else { return nil }
    let usage = usage[tenant] ?? Usage()
    let wanted: [(Quota, Int)] = [
      (.vms, usage.vms + 1), (.vcpus, usage.vcpus + footprint.threads),
      (.memoryMiB, (usage.memoryKiB + footprint.memoryKiB + 1023) >> 10),
    ]
    for (quota, count) in wanted {
      if let limit = quotas.limit(quota), count > limit { return QuotaRefusal(of: tenant, quota: quota, limit: limit) }
    }
    return nil
  }

  /// Why it may not have one lease more.
  func refusalOfLease(for tenant: Tenant) -> QuotaRefusal? { refusal(.leases, tenant, \.leases) }

  /// Why not one more of its requests may wait.
  func refusalToWait(for tenant: Tenant) -> QuotaRefusal? { refusal(.waiting, tenant, \.waiting) }

  private func refusal(_ quota: Quota, _ tenant: Tenant, _ count: KeyPath<Usage, Int>) -> QuotaRefusal? {
    guard let limit = declarations[tenant]?.quotas.limit(quota), (usage[tenant] ?? Usage())[keyPath: count] >= limit
    else { return nil }
    return QuotaRefusal(of: tenant, quota: quota, limit: limit)
  }

  mutating func add(_ footprint: Footprint, for tenant: Tenant) {
    change(tenant) { usage in
      usage.vms += 1
      usage.vcpus += footprint.threads
      usage.memoryKiB += footprint.memoryKiB
    }
  }

  mutating func remove(_ footprint: Footprint, for tenant: Tenant) {
    change(tenant) { usage in
      usage.vms -= 1
      usage.vcpus -= footprint.threads
      usage.memoryKiB -= footprint.memoryKiB
    }
  }

  mutating func addLeases(_ count: Int, for tenant: Tenant) { change(tenant) { $0.leases += count } }

  mutating func addWaiting(_ count: Int, for tenant: Tenant) { change(tenant) { $0.waiting += count } }

  private mutating func change(_ tenant: Tenant, _ body: (inout Usage) -> Void) {
    body(&usage[tenant, default: Usage()])
    if usage[tenant] == Usage() { usage[tenant] = nil }
  }
}
