/// What a tenant's quotas limit, by the names that the configuration file has for them.
public enum Quota: String, Sendable, CaseIterable {
  /// VMs, those of its pools included.
  case vms
  /// The vCPUs of these VMs.
  case vcpus
  /// The memory of these VMs, consoles included, in MiB.
  case memoryMiB = "memory_mib"
  /// Leases.
  case leases
  /// Requests that wait for a VM.
  case waiting
  /// The bytes of its images and blobs, in MiB.
  case imageMiB = "image_mib"
  /// Streams.
  case streams

  /// What it counts, as in "64 VMs".
  fileprivate var unit: String {
    switch self {
    case .vms: "VMs"
    case .vcpus: "vCPUs"
    case .memoryMiB: "MiB of guest memory"
    case .leases: "leases"
    case .waiting: "waiting requests"
    case .imageMiB: "MiB of images"
    case .streams: "streams"
    }
  }
}

/// A tenant may not have one more.
public struct QuotaRefusal: Error, Sendable, Equatable, CustomStringConvertible {
  /// Whose quota.
  public let tenant: Tenant
  /// Which of its quotas.
  public let quota: Quota
  /// The most that it may have.
  public let limit: Int

  /// A refusal.
  public init(of tenant: Tenant, quota: Quota, limit: Int) {
    self.tenant = tenant
    self.quota = quota
    self.limit = limit
  }

  /// What happened, and what to do next.
  public var description: String {
    "the tenant \(tenant) may have \(limit) \(quota.unit) (quota \(quota.rawValue)): give some back, or ask the operator for "
      + "more"
  }
}

extension TenantQuotas {
  /// The most of what `quota` limits; nil for no limit.
  public func limit(_ quota: Quota) -> Int? {
    switch quota {
    case .vms: vms
    case .vcpus: vcpus
    case .memoryMiB: memoryMiB
    case .leases: leases
    case .waiting: waiting
    case .imageMiB: imageMiB
    case .streams: streams
    }
  }
}
