import Foundation
import GuestImages
import MachineRuntime
import VCPURuntime

/// What a VM is made of, but for how it is kicked.
public struct VMSpecification: Sendable {
  /// The guest.
  public var image: GuestImage
  /// 1 to 8.
  public var vcpus: Int
  /// 1 to 1024.
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
}

/// A pool as declared.
public struct PoolSpecification: Sendable {
  /// What its VMs are made of.
  public var vm: VMSpecification
  /// How many VMs in state `ready` it keeps.
  public var ready: Int

  /// A pool that keeps `ready` VMs of `vm` ready.
  public init(vm: VMSpecification, ready: Int) {
    self.vm = vm
    self.ready = ready
  }
}

/// What the fleet will not exceed.
public struct FleetLimits: Sendable {
  /// VMs at the same time, those of pools included.
  public var vms: Int
  /// Declared pools.
  public var pools: Int

  /// At most `vms` VMs and `pools` pools.
  public init(vms: Int = 4096, pools: Int = 100) {
    self.vms = vms
    self.pools = pools
  }

  /// vCPUs a VM.
  public static let vcpusPerVM = 8
  /// Guest memory a VM in MiB.
  public static let memoryMiBPerVM = 1024
}

/// A VM of the fleet.
public final class VM: Sendable {
  /// Unique for the life of the server: `vm-` and twelve hex digits.
  public let id: String
  /// The pool it was made for; nil for one created by hand.
  public let pool: String?
  /// When it was created.
  public let createdAt: Date
  /// The machine itself.
  public let machine: any ManagedMachine
  /// Its place in the order of creation.
  let sequence: UInt64
  /// Which declaration of the pool it was made for.
  let revision: UInt64
  /// What its pool has measured.
  let measurements: PoolMeasurements

  init(
    id: String, pool: String?, sequence: UInt64, revision: UInt64, machine: any ManagedMachine,
    measurements: PoolMeasurements
  ) {
    self.id = id
    self.pool = pool
    self.sequence = sequence
    self.revision = revision
    self.machine = machine
    self.measurements = measurements
    createdAt = Date()
  }

  /// Tells the metrics of kicks that were acknowledged: once each.
  public func record(_ outcomes: [KickOutcome], of kicks: PendingKicks) {
    kicks.count(outcomes)
    for outcome in outcomes { measurements.record(outcome) }
  }
}

/// How a pool stands.
public struct PoolStatus: Sendable {
  /// Its name.
  public let name: String
  /// What was declared.
  public let specification: PoolSpecification
  /// Its VMs by `MachineState.name`.
  public let vms: [String: Int]
  /// VMs being made right now.
  public let creating: Int
  /// Why the last attempt to make a VM failed; nil when it succeeded.
  public let lastError: String?
}

/// Why the fleet refused or failed.
public enum FleetError: Error, Sendable, CustomStringConvertible {
  /// There is no VM of that id.
  case noSuchVM(String)
  /// There is no pool of that name.
  case noSuchPool(String)
  /// A limit of the server is reached.
  case limitReached(what: String, limit: Int, option: String?)
  /// The VM could not be made; nothing of it is left.
  case creation(MachineCreationError)
  /// The server is about to stop and makes nothing new.
  case draining

  /// What happened, to what, and what to do next.
  public var description: String {
    switch self {
    case .noSuchVM(let id): "there is no VM \(id)"
    case .noSuchPool(let name): "there is no pool \(name)"
    case .limitReached(let what, let limit, let option):
      "the server keeps at most \(limit) \(what): delete some" + (option.map { ", or start it with \($0)" } ?? "")
    case .creation(let error): "\(error)"
    case .draining: "the server is draining and makes no new VMs"
    }
  }
}
