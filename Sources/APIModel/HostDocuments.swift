/// What this host and its KVM can do.
public struct HostDocument: Codable, Sendable, Equatable {
  /// The server's version.
  public var version: String
  /// KVM_GET_API_VERSION; 12 on every kernel since 2.6.22.
  public var kvmAPIVersion: Int
  /// KVM_CHECK_EXTENSION's answers by capability, in lower case without the `KVM_CAP_` prefix.
  public var capabilities: [String: Int]
  /// The host processor's brand string.
  public var cpu: String
  /// The mechanism that kicks a vCPU: `immediate_exit` or `signal_mask`.
  public var kickMechanism: String
  /// Whether ring-0 guest code is emulated in software here (a paravirtual KVM), about a thousand times slower.
  public var ring0Emulated: Bool
  /// The most one request, or all of them together, may ask for.
  public var limits: LimitsDocument

  /// A host.
  public init(
    version: String, kvmAPIVersion: Int, capabilities: [String: Int], cpu: String, kickMechanism: String,
    ring0Emulated: Bool, limits: LimitsDocument
  ) {
    self.version = version
    self.kvmAPIVersion = kvmAPIVersion
    self.capabilities = capabilities
    self.cpu = cpu
    self.kickMechanism = kickMechanism
    self.ring0Emulated = ring0Emulated
    self.limits = limits
  }

  enum CodingKeys: String, CodingKey {
    case version
    case kvmAPIVersion = "kvm_api_version"
    case capabilities, cpu
    case kickMechanism = "kick_mechanism"
    case ring0Emulated = "ring0_emulated"
    case limits
  }
}

/// What one request may ask for.
public struct LimitsDocument: Codable, Sendable, Equatable {
  /// The server keeps no more VMs than this.
  public var maxVMs: Int
  /// vCPUs a VM may have.
  public var maxVCPUsPerVM: Int
  /// Guest memory a VM may have, in MiB.
  public var maxMemoryMiBPerVM: Int
  /// Bytes a request body may have.
  public var maxBodyBytes: Int
  /// The server keeps no more pools than this.
  public var maxPools: Int
  /// Bytes a blob may have.
  public var maxBlobBytes: Int
  /// Bytes that all blobs together may have.
  public var maxBlobsBytes: Int

  /// Limits.
  public init(
    maxVMs: Int, maxVCPUsPerVM: Int, maxMemoryMiBPerVM: Int, maxBodyBytes: Int, maxPools: Int, maxBlobBytes: Int,
    maxBlobsBytes: Int
  ) {
    self.maxVMs = maxVMs
    self.maxVCPUsPerVM = maxVCPUsPerVM
    self.maxMemoryMiBPerVM = maxMemoryMiBPerVM
    self.maxBodyBytes = maxBodyBytes
    self.maxPools = maxPools
    self.maxBlobBytes = maxBlobBytes
    self.maxBlobsBytes = maxBlobsBytes
  }

  enum CodingKeys: String, CodingKey {
    case maxVMs = "max_vms"
    case maxVCPUsPerVM = "max_vcpus_per_vm"
    case maxMemoryMiBPerVM = "max_memory_mib_per_vm"
    case maxBodyBytes = "max_body_bytes"
    case maxPools = "max_pools"
    case maxBlobBytes = "max_blob_bytes"
    case maxBlobsBytes = "max_blobs_bytes"
  }
}
