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
  /// The limits that control groups set the server.
  public var controlGroup: ControlGroupDocument
  /// What the server has given up.
  public var sandbox: SandboxDocument

  /// A host.
  public init(
    version: String, kvmAPIVersion: Int, capabilities: [String: Int], cpu: String, kickMechanism: String,
    ring0Emulated: Bool, limits: LimitsDocument, controlGroup: ControlGroupDocument, sandbox: SandboxDocument
  ) {
    self.version = version
    self.kvmAPIVersion = kvmAPIVersion
    self.capabilities = capabilities
    self.cpu = cpu
    self.kickMechanism = kickMechanism
    self.ring0Emulated = ring0Emulated
    self.limits = limits
    self.controlGroup = controlGroup
    self.sandbox = sandbox
  }

  enum CodingKeys: String, CodingKey {
    case version
    case kvmAPIVersion = "kvm_api_version"
    case capabilities, cpu
    case kickMechanism = "kick_mechanism"
    case ring0Emulated = "ring0_emulated"
    case limits
    case controlGroup = "control_group"
    case sandbox
  }
}

/// What the server has given up for good, so that a guest or a client that takes it over gains little.
public struct SandboxDocument: Codable, Sendable, Equatable {
  /// System calls are filtered, by what a thread is there for.
  public var seccomp: Bool
  /// The version of Landlock that bounds the files; nil where the kernel has none, or the sandbox is off.
  public var landlockABI: Int?
  /// Executing a file gives it no privileges.
  public var noNewPrivs: Bool
  /// Its effective capabilities as a hexadecimal set of bits, like CapEff of /proc/PID/status.
  public var capabilities: String

  /// A sandbox; by default none.
  public init(seccomp: Bool = false, landlockABI: Int? = nil, noNewPrivs: Bool = false, capabilities: String = "0x0") {
    self.seccomp = seccomp
    self.landlockABI = landlockABI
    self.noNewPrivs = noNewPrivs
    self.capabilities = capabilities
  }

  enum CodingKeys: String, CodingKey {
    case seccomp
    case landlockABI = "landlock_abi"
    case noNewPrivs = "no_new_privs"
    case capabilities
  }
}

/// The limits of the server's control groups, the lowest on the way up to the root; nil where there is none.
public struct ControlGroupDocument: Codable, Sendable, Equatable {
  /// Bytes of memory.
  public var memoryBytes: Int?
  /// Tasks, threads included.
  public var tasks: Int?
  /// Processors' worth of time.
  public var processors: Double?

  /// Limits.
  public init(memoryBytes: Int? = nil, tasks: Int? = nil, processors: Double? = nil) {
    self.memoryBytes = memoryBytes
    self.tasks = tasks
    self.processors = processors
  }

  enum CodingKeys: String, CodingKey {
    case memoryBytes = "memory_bytes"
    case tasks, processors
  }
}

/// What one request, or all of them together, may ask for.
public struct LimitsDocument: Codable, Sendable, Equatable {
  /// The server keeps no more VMs than this.
  public var maxVMs: Int
  /// Guest memory that all VMs together may have, in MiB.
  public var maxMemoryMiB: Int
  /// vCPUs that all VMs together may have: each needs a thread.
  public var maxVCPUs: Int
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
    maxVMs: Int, maxMemoryMiB: Int, maxVCPUs: Int, maxVCPUsPerVM: Int, maxMemoryMiBPerVM: Int, maxBodyBytes: Int,
    maxPools: Int, maxBlobBytes: Int, maxBlobsBytes: Int
  ) {
    self.maxVMs = maxVMs
    self.maxMemoryMiB = maxMemoryMiB
    self.maxVCPUs = maxVCPUs
    self.maxVCPUsPerVM = maxVCPUsPerVM
    self.maxMemoryMiBPerVM = maxMemoryMiBPerVM
    self.maxBodyBytes = maxBodyBytes
    self.maxPools = maxPools
    self.maxBlobBytes = maxBlobBytes
    self.maxBlobsBytes = maxBlobsBytes
  }

  enum CodingKeys: String, CodingKey {
    case maxVMs = "max_vms"
    case maxMemoryMiB = "max_memory_mib"
    case maxVCPUs = "max_vcpus"
    case maxVCPUsPerVM = "max_vcpus_per_vm"
    case maxMemoryMiBPerVM = "max_memory_mib_per_vm"
    case maxBodyBytes = "max_body_bytes"
    case maxPools = "max_pools"
    case maxBlobBytes = "max_blob_bytes"
    case maxBlobsBytes = "max_blobs_bytes"
  }
}
