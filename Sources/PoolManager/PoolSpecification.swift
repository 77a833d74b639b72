import GuestImages
import MachineRuntime

/// What a VM is made of, but for how it is kicked.
public struct VMSpecification: Sendable, Equatable {
  /// The guest.
  public var image: GuestImage
  /// 1 to 64.
  public var vcpus: Int
  /// 1 to 65 536.
  public var memoryMiB: Int
  /// Stop it (as `deadline`) when it has been started for so long; nil for never.
  public var deadlineNS: UInt64?

  /// A VM of `vcpus` vCPUs and `memoryMiB` MiB that runs `image`.
  public init(image: GuestImage, vcpus: Int, memoryMiB: Int, deadlineNS: UInt64? = nil) {
    self.image = image
    self.vcpus = vcpus
    self.memoryMiB = memoryMiB
    self.deadlineNS = deadlineNS
  }

  /// What it takes of the host.
  var footprint: Footprint { Footprint(image: image, vcpus: vcpus, memoryMiB: memoryMiB) }
}

/// How far the guests of a pool's VMs have come before a client gets them.
public enum ReadyPoint: Sendable, Equatable {
  /// Not started: each VM is loaded from its image.
  case loaded
  /// Just started.
  case started
  /// This text stands on the guest's console.
  case console(String)
  /// So long after the start.
  case after(ns: UInt64)
}

/// Which VMs that were reset are compared with their template. A comparison reads all memory of the VM.
public enum ResetVerification: String, Sendable {
  /// None.
  case off
  /// The first of a pool, and every 64th after it.
  case sampled
  /// All.
  case full

  /// Whether that of this number is, counted from 0.
  func includes(_ number: UInt64) -> Bool {
    switch self {
    case .off: false
    case .sampled: number % 64 == 0
    case .full: true
    }
  }
}

/// A pool as declared.
public struct PoolSpecification: Sendable, Equatable {
  /// What its VMs are made of.
  public var vm: VMSpecification
  /// How many VMs in state `ready` it keeps: it is filled up to the upper bound, and below the lower one it comes
  /// before others. A change of what its VMs are made of never takes it below the lower one.
  public var ready: ClosedRange<Int>
  /// The most VMs it may have at the same time; nil for no limit but the server's. Leased VMs count, and those being made or
  /// taken apart.
  public var maxVMs: Int?
  /// The most VMs made for it at the same time; nil for no limit but the server's.
  public var refillConcurrency: Int?
  /// The server makes, replaces and takes away none of the pool's VMs. It still leases the ready ones.
  public var isPaused: Bool
  /// How often one of its running VMs is kicked to see how long that takes; nil for never.
  public var probeIntervalNS: UInt64?
  /// How far its VMs' guests have come. Beyond `loaded` one VM is booted so far, and all others are clones of it.
  public var readyPoint: ReadyPoint
  /// How long the guest of that one VM may take to print the text that is looked for.
  public var readyTimeoutNS: UInt64

  /// Whether a VM whose lease has ended is put back to the template, for the next lease. Says nothing where there is none.
  public var resetsVMs: Bool
  /// Which of these VMs are compared with the template before the next lease.
  public var verification: ResetVerification
  /// Whether every tenant may lease its VMs. Says nothing where the pool is not the default tenant's.
  public var isShared = false

  /// A pool that keeps `ready` VMs of `vm` ready.
  public init(
    vm: VMSpecification, ready: ClosedRange<Int>, maxVMs: Int? = nil, refillConcurrency: Int? = nil,
    isPaused: Bool = false, probeIntervalNS: UInt64? = nil, readyPoint: ReadyPoint = .loaded,
    readyTimeoutNS: UInt64 = 60_000_000_000, resetsVMs: Bool = false, verification: ResetVerification = .sampled
  ) {
    self.vm = vm
    self.ready = ready
    self.maxVMs = maxVMs
    self.refillConcurrency = refillConcurrency
    self.isPaused = isPaused
    self.probeIntervalNS = probeIntervalNS
    self.readyPoint = readyPoint
    self.readyTimeoutNS = readyTimeoutNS
    self.resetsVMs = resetsVMs
    self.verification = verification
  }

  /// Whether its VMs are clones of a template.
  public var needsTemplate: Bool { readyPoint != .loaded }

  /// Whether VMs whose lease has ended are reset.
  public var resets: Bool { resetsVMs && needsTemplate }

  /// A pool that keeps exactly `ready` VMs of `vm` ready.
  public init(vm: VMSpecification, ready: Int) { self.init(vm: vm, ready: ready...ready) }
}
