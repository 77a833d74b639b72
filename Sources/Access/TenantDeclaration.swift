/// What the configuration file says of a tenant.
public struct TenantDeclaration: Sendable, Equatable {
  /// What a weight may be.
  public static let weights = 1...1000

  /// Its share of a pool's queue, beside those of other tenants.
  public var weight: Int
  /// What it may take at most.
  public var quotas: TenantQuotas

  /// What holds for a tenant that the file does not name, where nothing else is said.
  public init(weight: Int = 1, quotas: TenantQuotas = TenantQuotas()) {
    self.weight = weight
    self.quotas = quotas
  }
}

/// The most that a tenant may have at the same time; nil for no limit but the host's.
public struct TenantQuotas: Sendable, Equatable {
  /// VMs, those of its pools included.
  public var vms: Int?
  /// The vCPUs of these VMs.
  public var vcpus: Int?
  /// The guest memory of these VMs, in MiB.
  public var memoryMiB: Int?
  /// Leases.
  public var leases: Int?
  /// Requests that wait for a VM.
  public var waiting: Int?
  /// The bytes of its images and blobs, in MiB.
  public var imageMiB: Int?
  /// Streams: events and consoles.
  public var streams: Int?

  /// Quotas.
  public init(
    vms: Int? = nil, vcpus: Int? = nil, memoryMiB: Int? = nil, leases: Int? = nil, waiting: Int? = nil,
    imageMiB: Int? = nil, streams: Int? = nil
  ) {
    self.vms = vms
    self.vcpus = vcpus
    self.memoryMiB = memoryMiB
    self.leases = leases
    self.waiting = waiting
    self.imageMiB = imageMiB
    self.streams = streams
  }
}
