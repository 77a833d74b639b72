/// A virtual CPU and its counts since it was created.
public struct VCPUDocument: Codable, Sendable, Equatable {
  /// The VM it belongs to.
  public var vm: String
  /// 0 for the first.
  public var index: Int
  /// `ready`, `running`, `paused`, `halted` or `stopped`.
  public var state: String
  /// Returns from KVM_RUN by reason (`io`, `mmio`, `hlt`, `intr`, `shutdown` …).
  public var exits: [String: UInt64]
  /// Kicks served, by where they landed (`guest`, `entry`, `host`, `parked`).
  public var kicks: [String: UInt64]
  /// The kernel's own binary statistics (KVM_GET_STATS_FD), by the kernel's names. Counters and instants only.
  public var kernel: [String: UInt64]
  /// How long its thread was on a processor, guest and host together; nil where the server does not say.
  public var cpuNS: UInt64?
  /// How long its thread was runnable and had no processor: what the guest sees as stolen time; nil where the server does
  /// not say.
  public var runDelayNS: UInt64?

  /// A vCPU.
  public init(
    vm: String, index: Int, state: String, exits: [String: UInt64], kicks: [String: UInt64],
    kernel: [String: UInt64], cpuNS: UInt64? = nil, runDelayNS: UInt64? = nil
  ) {
    self.vm = vm
    self.index = index
    self.state = state
    self.exits = exits
    self.kicks = kicks
    self.kernel = kernel
    self.cpuNS = cpuNS
    self.runDelayNS = runDelayNS
  }

  enum CodingKeys: String, CodingKey {
    case vm, index, state, exits, kicks, kernel
    case cpuNS = "cpu_ns"
    case runDelayNS = "run_delay_ns"
  }
}

/// The body of a kick; every member may be absent, and so may the body.
public struct KickRequestDocument: Codable, Sendable, Equatable {
  /// How long to wait for the acknowledgement, 1 to 60000; 1000 when absent.
  public var timeoutMS: Int?

  /// A request; nil stands for the default.
  public init(timeoutMS: Int? = nil) { self.timeoutMS = timeoutMS }

  enum CodingKeys: String, CodingKey { case timeoutMS = "timeout_ms" }
}

/// An acknowledged kick.
public struct KickDocument: Codable, Sendable, Equatable {
  /// The VM kicked.
  public var vm: String
  /// The index of the vCPU kicked.
  public var vcpu: Int
  /// The request's number on this vCPU; the acknowledgement is of this very request.
  public var generation: UInt64
  /// `immediate_exit` or `signal_mask`.
  public var mechanism: String
  /// Where it landed: `guest`, `entry`, `host` or `parked`.
  public var phase: String
  /// Whether a signal was already on its way and this kick shared it.
  public var coalesced: Bool
  /// Signals this kick sent: 0 when coalesced or parked, more than 1 when it had to be sent again.
  public var signalsSent: Int
  /// From the request to the vCPU thread being out of KVM_RUN.
  public var latencyNS: UInt64
  /// From the request to the signal handler; null where no handler ran (`parked`, `signal_mask`).
  public var signalLatencyNS: UInt64?

  /// A kick.
  public init(
    vm: String, vcpu: Int, generation: UInt64, mechanism: String, phase: String, coalesced: Bool, signalsSent: Int,
    latencyNS: UInt64, signalLatencyNS: UInt64?
  ) {
    self.vm = vm
    self.vcpu = vcpu
    self.generation = generation
    self.mechanism = mechanism
    self.phase = phase
    self.coalesced = coalesced
    self.signalsSent = signalsSent
    self.latencyNS = latencyNS
    self.signalLatencyNS = signalLatencyNS
  }

  enum CodingKeys: String, CodingKey {
    case vm, vcpu, generation, mechanism, phase, coalesced
    case signalsSent = "signals_sent"
    case latencyNS = "latency_ns"
    case signalLatencyNS = "signal_latency_ns"
  }
}

/// The answer to kicking every vCPU of a VM.
public struct KickAllDocument: Codable, Sendable, Equatable {
  /// The VM kicked.
  public var vm: String
  /// One for each vCPU, by index.
  public var kicks: [KickDocument]

  /// The kicks of a VM.
  public init(vm: String, kicks: [KickDocument]) {
    self.vm = vm
    self.kicks = kicks
  }
}

/// The registers of a paused vCPU, as hex strings.
public struct RegistersDocument: Codable, Sendable, Equatable {
  /// The VM.
  public var vm: String
  /// The index of the vCPU.
  public var vcpu: Int
  /// `rax` … `r15`, `rip`, `rflags`.
  public var general: [String: String]
  /// `cr0`, `cr2`, `cr3`, `cr4`, `cr8`, `efer`, `apic_base`.
  public var control: [String: String]
  /// `cs`, `ds`, `es`, `fs`, `gs`, `ss`, `tr`, `ldt`.
  public var segments: [String: SegmentDocument]
  /// `gdt` and `idt`.
  public var tables: [String: DescriptorTableDocument]

  /// Registers.
  public init(
    vm: String, vcpu: Int, general: [String: String], control: [String: String], segments: [String: SegmentDocument],
    tables: [String: DescriptorTableDocument]
  ) {
    self.vm = vm
    self.vcpu = vcpu
    self.general = general
    self.control = control
    self.segments = segments
    self.tables = tables
  }
}

/// A segment register with its hidden part.
public struct SegmentDocument: Codable, Sendable, Equatable {
  /// The visible part, in hex.
  public var selector: String
  /// The linear address of its first byte, in hex.
  public var base: String
  /// The offset of its last byte, in hex.
  public var limit: String
  /// The descriptor type, 0 to 15.
  public var type: Int
  /// The descriptor privilege level, 0 to 3.
  public var dpl: Int
  /// Whether the segment is there.
  public var present: Bool
  /// Whether its code is 64-bit.
  public var long: Bool

  /// A segment register.
  public init(selector: String, base: String, limit: String, type: Int, dpl: Int, present: Bool, long: Bool) {
    self.selector = selector
    self.base = base
    self.limit = limit
    self.type = type
    self.dpl = dpl
    self.present = present
    self.long = long
  }
}

/// A descriptor table register.
public struct DescriptorTableDocument: Codable, Sendable, Equatable {
  /// The linear address of its first byte, in hex.
  public var base: String
  /// The offset of its last byte, in hex.
  public var limit: String

  /// A descriptor table register.
  public init(base: String, limit: String) {
    self.base = base
    self.limit = limit
  }
}
