/// A VM, handed over for a time.
public struct LeaseDocument: Codable, Sendable, Equatable {
  /// Unique for good, such as `lease-5f0c2a9b1e7d4a60`.
  public var lease: String
  /// Whose it is; nil from a server that knows no tenants.
  public var tenant: String?
  /// The pool that the VM came from.
  public var pool: String
  /// The VM.
  public var vm: String
  /// Grows with every hand-over. Present it as `Lease-Fence`, and nothing is done to a VM that is no longer yours.
  public var fence: UInt64
  /// The labels of the request that it answers.
  public var labels: [String: String]
  /// RFC 3339, UTC.
  public var grantedAt: String
  /// When the server takes the VM back; RFC 3339, UTC.
  public var expiresAt: String
  /// How far `expires_at` can be extended; RFC 3339, UTC.
  public var maxExpiresAt: String

  /// A lease.
  public init(
    lease: String, pool: String, vm: String, fence: UInt64, labels: [String: String], grantedAt: String,
    expiresAt: String, maxExpiresAt: String, tenant: String? = nil
  ) {
    self.lease = lease
    self.pool = pool
    self.vm = vm
    self.fence = fence
    self.labels = labels
    self.grantedAt = grantedAt
    self.expiresAt = expiresAt
    self.maxExpiresAt = maxExpiresAt
    self.tenant = tenant
  }

  enum CodingKeys: String, CodingKey {
    case lease, tenant, pool, vm, fence, labels
    case grantedAt = "granted_at"
    case expiresAt = "expires_at"
    case maxExpiresAt = "max_expires_at"
  }
}

/// The body of `POST /v1/pools/{pool}/leases`.
public struct LeaseRequestDocument: Codable, Sendable, Equatable {
  /// How long the lease lasts unless it is extended, 1 to 86 400 000; 60 000 when absent.
  public var ttlMS: Int?
  /// How long to wait for a VM where none is ready, 0 to 600 000; 0 when absent.
  public var waitMS: Int?
  /// Whether the VM is started; true when absent.
  public var start: Bool?
  /// At most 16, whose names and values have at most 64 and 256 bytes.
  public var labels: [String: String]?
  /// The guest's command line; the image's own when nil.
  public var commandLine: String?
  /// The guest's environment, by name.
  public var environment: [String: String]?

  /// A request; nil stands for the default.
  public init(
    ttlMS: Int? = nil, waitMS: Int? = nil, start: Bool? = nil, labels: [String: String]? = nil,
    commandLine: String? = nil, environment: [String: String]? = nil
  ) {
    self.ttlMS = ttlMS
    self.waitMS = waitMS
    self.start = start
    self.labels = labels
    self.commandLine = commandLine
    self.environment = environment
  }

  enum CodingKeys: String, CodingKey {
    case ttlMS = "ttl_ms"
    case waitMS = "wait_ms"
    case start, labels
    case commandLine = "command_line"
    case environment
  }
}

/// The body of `PATCH /v1/leases/{lease}`.
public struct ExtendLeaseDocument: Codable, Sendable, Equatable {
  /// How long it is to last from now, 1 to 86 400 000; 60 000 when absent.
  public var ttlMS: Int?
  /// Whether it may end earlier than it would have; no when absent.
  public var shorten: Bool?

  /// A heartbeat; nil stands for the default.
  public init(ttlMS: Int? = nil, shorten: Bool? = nil) {
    self.ttlMS = ttlMS
    self.shorten = shorten
  }

  enum CodingKeys: String, CodingKey {
    case ttlMS = "ttl_ms"
    case shorten
  }
}

/// The body of `POST /v1/pools/{pool}/run`.
public struct RunRequestDocument: Codable, Sendable, Equatable {
  /// Console input, as text.
  public var input: String?
  /// Console input, as base64 (RFC 4648); instead of `input`.
  public var inputBase64: String?
  /// How long the guest may run, 1 to 86 400 000; 10 000 when absent.
  public var deadlineMS: Int?
  /// How long to wait for a VM where none is ready, 0 to 600 000; 0 when absent.
  public var waitMS: Int?
  /// The guest's command line; the image's own when nil.
  public var commandLine: String?
  /// The guest's environment, by name.
  public var environment: [String: String]?

  /// A request; nil stands for the default.
  public init(
    input: String? = nil, inputBase64: String? = nil, deadlineMS: Int? = nil, waitMS: Int? = nil,
    commandLine: String? = nil, environment: [String: String]? = nil
  ) {
    self.input = input
    self.inputBase64 = inputBase64
    self.deadlineMS = deadlineMS
    self.waitMS = waitMS
    self.commandLine = commandLine
    self.environment = environment
  }

  enum CodingKeys: String, CodingKey {
    case input
    case inputBase64 = "input_base64"
    case deadlineMS = "deadline_ms"
    case waitMS = "wait_ms"
    case commandLine = "command_line"
    case environment
  }
}

/// What became of a run.
public struct RunDocument: Codable, Sendable, Equatable {
  /// The VM that it ran on, which is no more.
  public var vm: String
  /// `exited`, `halted`, `powered_off`, `reset`, `crashed`, `deadline` or `killed`.
  public var outcome: String
  /// The guest's own exit code, when `outcome` is `exited`.
  public var exitCode: Int?
  /// For `crashed`: what the kernel said, in words.
  public var detail: String?
  /// What the guest wrote, as text; what is not UTF-8 is replaced by U+FFFD.
  public var console: String
  /// The same, as base64, where it is not UTF-8; else null.
  public var consoleBase64: String?
  /// How many bytes the guest wrote; the console keeps the last 64 KiB.
  public var consoleBytes: UInt64
  /// Returns of its vCPUs from KVM_RUN, by reason.
  public var exits: [String: UInt64]
  /// From the start of the VM to its stop.
  public var durationNS: UInt64

  /// An outcome.
  public init(
    vm: String, outcome: String, exitCode: Int?, detail: String?, console: String, consoleBase64: String?,
    consoleBytes: UInt64, exits: [String: UInt64], durationNS: UInt64
  ) {
    self.vm = vm
    self.outcome = outcome
    self.exitCode = exitCode
    self.detail = detail
    self.console = console
    self.consoleBase64 = consoleBase64
    self.consoleBytes = consoleBytes
    self.exits = exits
    self.durationNS = durationNS
  }

  enum CodingKeys: String, CodingKey {
    case vm, outcome
    case exitCode = "exit_code"
    case detail, console
    case consoleBase64 = "console_base64"
    case consoleBytes = "console_bytes"
    case exits
    case durationNS = "duration_ns"
  }
}
