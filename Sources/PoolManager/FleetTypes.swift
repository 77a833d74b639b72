import Access
import MachineRuntime

/// The limits that the fleet keeps.
public struct FleetLimits: Sendable, Equatable {
  /// VMs at the same time, those of pools included.
  public var vms: Int
  /// Declared pools.
  public var pools: Int
  /// Guest memory of all VMs together, in MiB.
  public var memoryMiB: Int
  /// File descriptors of all VMs together.
  public var descriptors: Int
  /// Memory mappings of all VMs together.
  public var mappings: Int
  /// Threads of all VMs together, one a vCPU.
  public var threads: Int
  /// VMs being made for pools at the same time.
  public var creations: Int
  /// Clients waiting for a lease of one pool.
  public var waiters: Int
  /// How long a lease may last, however often it is extended.
  public var leaseNS: UInt64
  /// How long taking a VM apart may last before it is quarantined.
  public var retirementNS: UInt64

  /// At most `vms` VMs and `pools` pools; what is left out is not limited, or as the server's defaults are.
  public init(
    vms: Int = 4096, pools: Int = 100, memoryMiB: Int = .max, descriptors: Int = .max, mappings: Int = .max,
    threads: Int = .max, creations: Int = 1, waiters: Int = 1024, leaseNS: UInt64 = 86_400_000_000_000,
    retirementNS: UInt64 = 5_000_000_000
  ) {
    self.vms = vms
    self.pools = pools
    self.memoryMiB = memoryMiB
    self.descriptors = descriptors
    self.mappings = mappings
    self.threads = threads
    self.creations = creations
    self.waiters = waiters
    self.leaseNS = leaseNS
    self.retirementNS = retirementNS
  }
}

/// How a pool stands.
public struct PoolStatus: Sendable {
  /// How the server calls it: `Tenant.qualified`.
  public let name: String
  /// Whose it is.
  public let tenant: Tenant
  /// What was declared.
  public let specification: PoolSpecification
  /// Its VMs that can be found, by `MachineState.name`.
  public let states: [String: Int]
  /// VMs to be leased.
  public let ready: Int
  /// Those of them that are of an older declaration, and will be replaced.
  public let outdated: Int
  /// VMs that are under a lease.
  public let leased: Int
  /// VMs being made.
  public let creating: Int
  /// VMs being put back to their template.
  public let resetting: Int
  /// VMs being taken apart.
  public let retiring: Int
  /// VMs that could not be taken apart in time.
  public let quarantined: Int
  /// Clients waiting for a lease.
  public let waiting: Int
  /// Whether it was deleted and waits for its last lease to end.
  public let isDraining: Bool
  /// How it stands with making VMs.
  public let refill: RefillStatus
  /// How it stands with what its VMs are cloned from.
  public let template: TemplateStatus

  init(_ pool: PoolState, states: [String: Int], template: PoolTemplate?, now: UInt64) {
    name = pool.name
    tenant = pool.tenant
    specification = pool.specification
    self.states = states
    ready = pool.ready.count + pool.outdated.count
    outdated = pool.outdated.count
    leased = pool.leased
    creating = pool.creating + pool.creatingOutdated
    resetting = pool.resetting
    retiring = pool.retiring
    quarantined = pool.quarantined
    waiting = pool.queue.count
    isDraining = pool.isDraining
    refill = RefillStatus(pool, now: now)
    self.template = TemplateStatus(pool, template)
  }
}

/// How a pool stands with the template of its VMs.
public struct TemplateStatus: Sendable {
  /// How far it has come.
  public enum State: String, Sendable, CaseIterable {
    /// The pool needs none, or none has been begun.
    case none
    /// A VM is booting for it.
    case booting
    /// VMs are made of it.
    case ready
    /// The last attempt failed; `RefillStatus` says why, and when the next is due.
    case failed
  }

  /// How far it has come.
  public let state: State
  /// Bytes of memory that it takes, for all its clones together; nil where it is not ready.
  public let memoryBytes: UInt64?
  /// How long its VM took from nothing to its ready point; nil where it is not ready.
  public let bootNS: UInt64?

  init(_ pool: PoolState, _ template: PoolTemplate?) {
    memoryBytes = template?.template.storedBytes
    bootNS = template?.bootNS
    switch pool.template {
    case .ready: state = .ready
    case .booting: state = .booting
    case .absent: state = pool.specification.needsTemplate && pool.backoff.failures > 0 ? .failed : .none
    }
  }
}

/// How far the deletion of a pool has come.
public enum PoolDeletion: Sendable {
  /// Nothing of the pool is left.
  case complete
  /// Leases have not ended, or VMs are not taken apart yet: how the pool stands. The server goes on.
  case goesOn(PoolStatus)
}

/// How a pool stands with making VMs.
public struct RefillStatus: Sendable {
  /// Whether the pool gets VMs, and what holds it up.
  public enum State: String, Sendable {
    /// Nothing stands in the way.
    case ok
    /// The pool is declared `paused`.
    case paused
    /// The host has no room, or the declaration leaves none.
    case limited
    /// The last attempt failed; the next is due later.
    case backingOff = "backing_off"
    /// So many attempts have failed that only one at a time is made, half a minute apart at most.
    case breakerOpen = "breaker_open"
  }

  /// Whether the pool gets VMs, and what holds it up.
  public let state: State
  /// Attempts that have failed since one succeeded.
  public let failures: Int
  /// Why the last attempt failed, or which limit stands in the way; nil where nothing does.
  public let lastError: String?
  /// How long ago the last attempt failed.
  public let failedAgoNS: UInt64?
  /// How long until the next attempt.
  public let nextAttemptNS: UInt64?

  init(_ pool: PoolState, now: UInt64) {
    let backoff = pool.backoff
    failures = backoff.failures
    failedAgoNS = failures > 0 ? now - min(backoff.lastFailureNS, now) : nil
    nextAttemptNS = failures > 0 ? max(backoff.nextAttemptNS, now) - now : nil
    lastError = pool.limitedBy.map { "\($0)" } ?? backoff.lastFailure ?? pool.hindrance
    if pool.specification.isPaused {
      state = .paused
    } else if failures > 0 {
      state = backoff.isOpen ? .breakerOpen : .backingOff
    } else {
      state = pool.limitedBy == nil && pool.hindrance == nil ? .ok : .limited
    }
  }
}

/// Why the fleet refused or failed.
public enum FleetError: Error, Sendable, CustomStringConvertible {
  /// There is no VM of that id.
  case noSuchVM(String)
  /// There is no pool of that name.
  case noSuchPool(String)
  /// The pool is deleted and waits for its last lease to end.
  case poolDraining(String)
  /// A limit of the server is reached.
  case limitReached(what: String, limit: Int, option: String?)
  /// A limit of the host is reached.
  case noRoom(BudgetRefusal)
  /// The tenant may not have one more.
  case quota(QuotaRefusal)
  /// The VM could not be made; nothing of it is left.
  case creation(MachineCreationError)
  /// The VM cannot take the request's guest arguments; nothing of it is left.
  case argumentsRefused(vm: String, MachineControlError)
  /// The client presented a fence that is not, or no longer, that of the VM's lease.
  case staleFence(vm: String, fence: UInt64)
  /// No client finds the VM any more, but it could not be taken apart in time.
  case stuck(vm: String)
  /// The server is about to stop and makes nothing new.
  case draining

  /// What happened, to what, and what to do next.
  public var description: String {
    switch self {
    case .noSuchVM(let id): "there is no VM \(id)"
    case .noSuchPool(let name): "there is no pool \(name)"
    case .poolDraining(let name): "the pool \(name) is being deleted, and waits for its last lease to end"
    case .limitReached(let what, let limit, let option):
      "the server keeps at most \(limit) \(what): delete some" + (option.map { ", or start it with \($0)" } ?? "")
    case .noRoom(let refusal): "\(refusal)"
    case .quota(let refusal): "\(refusal)"
    case .creation(let error): "\(error)"
    case .argumentsRefused(_, let error): "\(error)"
    case .staleFence(let vm, let fence):
      "the VM \(vm) is not leased under fence \(fence): that lease has ended; leave the VM alone and lease another"
    case .stuck(let vm):
      "the VM \(vm) could not be taken apart in time; it is quarantined, and the server goes on trying"
    case .draining: "the server is draining and makes no new VMs"
    }
  }
}

extension FleetError {
  init(_ refusal: RoomRefusal) {
    switch refusal {
    case .host(let refusal): self = .noRoom(refusal)
    case .quota(let refusal): self = .quota(refusal)
    }
  }
}
