/// A virtual machine.
public struct VMDocument: Codable, Sendable, Equatable {
  /// Unique for the life of the server, such as `vm-5f0c2a9b1e7d4a60`.
  public var id: String
  /// Whose it is; nil from a server that knows no tenants.
  public var tenant: String?
  /// The pool it was made for; null for one created by hand.
  public var pool: String?
  /// The name of its image; `flat` for one created from inline bytes.
  public var image: String
  /// `ready`, `running`, `paused` or `stopped`.
  public var state: String
  /// Number of virtual CPUs.
  public var vcpus: Int
  /// Guest memory in MiB.
  public var memoryMiB: Int
  /// RFC 3339, UTC.
  public var createdAt: String
  /// Console bytes written by the guest so far: the offset one past the newest.
  public var consoleBytes: UInt64
  /// How it stopped; null unless `state` is `stopped`.
  public var stop: StopDocument?
  /// The lease it is under; null where it is under none.
  public var lease: String?
  /// Why its guest will not do here what it is made for, each in a sentence or two.
  public var warnings: [String]
  /// Bytes of the host's memory that its guest holds; null but where this one VM is looked at.
  public var memoryResidentBytes: Int?

  /// A VM.
  public init(
    id: String, pool: String?, image: String, state: String, vcpus: Int, memoryMiB: Int, createdAt: String,
    consoleBytes: UInt64, stop: StopDocument?, lease: String? = nil, memoryResidentBytes: Int? = nil,
    warnings: [String] = [], tenant: String? = nil
  ) {
    self.id = id
    self.pool = pool
    self.image = image
    self.state = state
    self.vcpus = vcpus
    self.memoryMiB = memoryMiB
    self.createdAt = createdAt
    self.consoleBytes = consoleBytes
    self.stop = stop
    self.lease = lease
    self.warnings = warnings
    self.memoryResidentBytes = memoryResidentBytes
    self.tenant = tenant
  }

  enum CodingKeys: String, CodingKey {
    case id, tenant, pool, image, state, vcpus
    case memoryMiB = "memory_mib"
    case createdAt = "created_at"
    case consoleBytes = "console_bytes"
    case stop, lease, warnings
    case memoryResidentBytes = "memory_resident_bytes"
  }
}

/// How a VM stopped.
public struct StopDocument: Codable, Sendable, Equatable {
  /// `exited`, `halted`, `powered_off`, `reset`, `crashed`, `killed` or `deadline`.
  public var reason: String
  /// The guest's own exit code, when `reason` is `exited`.
  public var exitCode: Int?
  /// For `crashed`: what the kernel said, in words.
  public var detail: String?

  /// A way to stop.
  public init(reason: String, exitCode: Int?, detail: String?) {
    self.reason = reason
    self.exitCode = exitCode
    self.detail = detail
  }

  enum CodingKeys: String, CodingKey {
    case reason
    case exitCode = "exit_code"
    case detail
  }
}

/// The body of `POST /v1/vms`.
public struct CreateVMDocument: Codable, Sendable, Equatable {
  /// The name of an image, or null when `flat` is given.
  public var image: String?
  /// A flat image given inline, or null when `image` is given.
  public var flat: FlatImageDocument?
  /// 1 to 64; 1 when absent.
  public var vcpus: Int?
  /// 1 to 65 536; what the image needs when absent.
  public var memoryMiB: Int?
  /// Whether to start it at once; true when absent.
  public var start: Bool?
  /// Stop it (as `deadline`) when it has run for so long; null for never. Counted from start.
  public var deadlineMS: Int?
  /// The guest's command line; the image's own when nil.
  public var commandLine: String?
  /// The guest's environment, by name.
  public var environment: [String: String]?

  /// A request; nil stands for the default.
  public init(
    image: String? = nil, flat: FlatImageDocument? = nil, vcpus: Int? = nil, memoryMiB: Int? = nil,
    start: Bool? = nil, deadlineMS: Int? = nil, commandLine: String? = nil, environment: [String: String]? = nil
  ) {
    self.image = image
    self.flat = flat
    self.vcpus = vcpus
    self.memoryMiB = memoryMiB
    self.start = start
    self.deadlineMS = deadlineMS
    self.commandLine = commandLine
    self.environment = environment
  }

  enum CodingKeys: String, CodingKey {
    case image, flat, vcpus
    case memoryMiB = "memory_mib"
    case start
    case deadlineMS = "deadline_ms"
    case commandLine = "command_line"
    case environment
  }
}

/// Raw machine code given inline.
public struct FlatImageDocument: Codable, Sendable, Equatable {
  /// `real16`, `prot32`, `long64` (ring 0) or `long64_ring3`.
  public var mode: String
  /// Where to put the code: a guest-physical address in hex, such as `0x10000`; that is the default.
  public var loadAddress: String?
  /// Where to start; the load address when absent.
  public var entry: String?
  /// The machine code, base64 (RFC 4648).
  public var code: String

  /// An image; nil stands for the default.
  public init(mode: String, loadAddress: String? = nil, entry: String? = nil, code: String) {
    self.mode = mode
    self.loadAddress = loadAddress
    self.entry = entry
    self.code = code
  }

  enum CodingKeys: String, CodingKey {
    case mode
    case loadAddress = "load_address"
    case entry, code
  }
}

/// The answer to `POST /v1/vms/{vm}/console`.
public struct ConsoleWriteDocument: Codable, Sendable, Equatable {
  /// How many of the bytes sent were taken, from the first.
  public var accepted: Int

  /// An answer.
  public init(accepted: Int) { self.accepted = accepted }
}
