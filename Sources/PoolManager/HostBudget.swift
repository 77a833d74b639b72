import Access
import MachineRuntime

/// Which limit stands in the way of one more VM.
public struct BudgetRefusal: Sendable, Equatable, CustomStringConvertible {
  /// What is limited.
  public enum Resource: Sendable, Equatable, CaseIterable { case vms, memory, descriptors, mappings, threads }

  /// What is limited.
  public let resource: Resource
  /// How much of it there is.
  public let limit: Int
  /// Whether the VM needs more than that by itself, so that neither time nor a deletion makes room for it.
  public var neverFits = false

  /// What happened, and what to do next.
  public var description: String {
    let less = resource == .memory ? "less memory" : "fewer vCPUs"
    let cure = neverFits ? ", and such a VM needs more by itself: give it \(less)" : ": delete some"
    return switch resource {
    case .vms: "the server keeps at most \(limit) VMs\(cure), or start it with a higher --max-vms"
    case .memory:
      "the server's VMs may have \(limit) MiB of guest memory in all, consoles included\(cure), or start the server with a "
        + "higher --max-memory-mib"
    case .descriptors:
      "the server may use \(limit) file descriptors for VMs\(cure), or raise its limit (RLIMIT_NOFILE, LimitNOFILE= in its "
        + "unit)"
    case .mappings:
      "the server may use \(limit) memory mappings for VMs\(cure), or raise the sysctl vm.max_map_count"
    case .threads:
      "the server's VMs may have \(limit) vCPUs in all, a thread each\(cure), or raise the limit on tasks "
        + "(pids.max of the control group, TasksMax= in its unit, --pids-limit of the container)"
    }
  }
}

/// Why there is no room for one more VM.
public enum RoomRefusal: Sendable, Equatable, CustomStringConvertible {
  /// A limit of the server or the host stands in the way.
  case host(BudgetRefusal)
  /// Its tenant may not have one more.
  case quota(QuotaRefusal)

  /// What happened, and what to do next.
  public var description: String {
    switch self {
    case .host(let refusal): "\(refusal)"
    case .quota(let refusal): "\(refusal)"
    }
  }
}

/// What the VMs there are have taken of the host, and how much there is.
struct HostBudget: Sendable, Equatable {
  let limits: FleetLimits
  private(set) var vms = 0
  private(set) var memoryKiB = 0
  private(set) var descriptors = 0
  private(set) var mappings = 0
  private(set) var threads = 0

  init(limits: FleetLimits) { self.limits = limits }

  /// Why one more VM does not fit; nil if it does. A limit that the VM exceeds by itself comes first.
  func refusal(of footprint: Footprint) -> BudgetRefusal? {
    Self.refusal(larger: footprint, than: limits) ?? shortage(of: footprint)
  }

  /// The limit that a VM exceeds by itself; nil where it fits into an empty host.
  static func refusal(larger footprint: Footprint, than limits: FleetLimits) -> BudgetRefusal? {
    guard var refusal = HostBudget(limits: limits).shortage(of: footprint), refusal.resource != .vms else { return nil }
    refusal.neverFits = true
    return refusal
  }

  private func shortage(of footprint: Footprint) -> BudgetRefusal? {
    if vms >= limits.vms { return BudgetRefusal(resource: .vms, limit: limits.vms) }
    if (memoryKiB + footprint.memoryKiB + 1023) >> 10 > limits.memoryMiB {
      return BudgetRefusal(resource: .memory, limit: limits.memoryMiB)
    }
    if descriptors + footprint.descriptors > limits.descriptors {
      return BudgetRefusal(resource: .descriptors, limit: limits.descriptors)
    }
    if mappings + footprint.mappings > limits.mappings {
      return BudgetRefusal(resource: .mappings, limit: limits.mappings)
    }
    if threads + footprint.threads > limits.threads {
      return BudgetRefusal(resource: .threads, limit: limits.threads)
    }
    return nil
  }

  mutating func add(_ footprint: Footprint) {
    vms += 1
    memoryKiB += footprint.memoryKiB
    descriptors += footprint.descriptors
    mappings += footprint.mappings
    threads += footprint.threads
  }

  mutating func remove(_ footprint: Footprint) {
    vms -= 1
    memoryKiB -= footprint.memoryKiB
    descriptors -= footprint.descriptors
    mappings -= footprint.mappings
    threads -= footprint.threads
  }
}
