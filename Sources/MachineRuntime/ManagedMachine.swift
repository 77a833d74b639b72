import Devices
import GuestImages
import KVM
import VCPURuntime

/// A VM as the fleet sees it. `Machine` is the real one. Tests implement it to reach states that a real one cannot be
/// driven to.
///
/// Everything may be called from any thread. Control methods wait until `deadlineNS` (CLOCK_MONOTONIC) and may be
/// called again after a timeout, to go on waiting.
public protocol ManagedMachine: AnyObject, Sendable {
  /// What it is made of.
  var configuration: MachineConfiguration { get }
  /// What it is.
  var state: MachineState { get }
  /// Both directions of its console.
  var console: Console { get }
  /// Writes the arguments into its memory, for its guest. In state `ready`, before `start`.
  func setArguments(_ chosen: GuestArguments) throws(MachineControlError)
  /// `ready` → `running`. Stops it (as `deadline`) in `limitNS`, or when its configuration says (nil).
  func start(limitNS: UInt64?, untilNS deadlineNS: UInt64) throws(MachineControlError)
  /// `ready` → `running`, without waiting; its vCPUs sleep on until what is returned is delivered, which should be soon.
  func startAsleep() throws(MachineControlError) -> PendingWake
  /// `running` → `paused`.
  func pause(untilNS deadlineNS: UInt64) throws(MachineControlError)
  /// `paused` → `running`.
  func resume(untilNS deadlineNS: UInt64) throws(MachineControlError)
  /// Any state → `stopped`.
  func stop(_ reason: MachineStop, untilNS deadlineNS: UInt64) throws(MachineControlError)
  /// As `start`, `pause`, `resume` and `stop`, but published and not waited for.
  func requestStart(limitNS: UInt64?) throws(MachineControlError) -> PendingRequests
  func requestPause() throws(MachineControlError) -> PendingRequests
  func requestResume() throws(MachineControlError) -> PendingRequests
  func requestStop(_ reason: MachineStop) throws(MachineControlError) -> PendingRequests
  /// Publishes a kick to one vCPU, or to all (nil); does not wait.
  func requestKicks(vcpu index: Int?) throws(MachineControlError) -> PendingKicks
  /// Asks for the registers of a vCPU of a paused or stopped VM; does not wait.
  func requestRegisters(vcpu index: Int) throws(MachineControlError) -> PendingRegisters
  /// What vCPU `index` does, and what it has counted.
  func statistics(of index: Int) throws(MachineControlError) -> VCPUStatistics
  /// The same of every vCPU, in the order of their numbers.
  var vcpuStatistics: [VCPUStatistics] { get }
  /// What its vCPUs counted so far; after `destroy`, in the end.
  var counts: VCPUCounts { get }
  /// Bytes of the host's memory that its guest holds: its memory, and what it wrote to disks. All of them are its own.
  var residentBytes: Int { get }
  /// Gives the guest input; returns how many bytes fitted.
  func offerInput(_ bytes: [UInt8]) throws(MachineControlError) -> Int
  /// Keeps what it is, while it is paused, as a template for clones.
  func makeTemplate(untilNS deadlineNS: UInt64) throws(MachineTemplateError) -> any ManagedTemplate
  /// `stopped` → `ready`: puts a clone back to its template. By its owner, one call at a time; after an error it must be
  /// destroyed. Returns how many pages of memory it put back.
  func reset() throws(MachineTemplateError) -> Int
  /// What of a clone that is ready or stopped differs from its template, in words: empty where nothing does. Reads all memory.
  func differences(untilNS deadlineNS: UInt64) throws(MachineTemplateError) -> [String]
  /// Takes it apart; once.
  func destroy()
}

/// A VM as it stood still at one moment, as the fleet sees it. Any thread.
public protocol ManagedTemplate: AnyObject, Sendable {
  /// Bytes of memory that it takes of the host, for all of its clones together.
  var storedBytes: UInt64 { get }
  /// Makes a VM called `name` in state `ready`, whose guest goes on from that moment when it is started. Stops it (as
  /// `deadline`) when it has been started for so long; nil for never. `changed` is called as by `MachineFactory.make`.
  func clone(
    name: String, deadlineNS: UInt64?, changed: @escaping @Sendable (MachineState) -> Void
  ) throws(MachineCreationError) -> any ManagedMachine
}

extension Machine: ManagedMachine {
  /// As `freeze`.
  public func makeTemplate(untilNS deadlineNS: UInt64) throws(MachineTemplateError) -> any ManagedTemplate {
    try freeze(untilNS: deadlineNS)
  }
}

extension ManagedMachine {
  /// `ready` → `running`, until its configuration's deadline.
  public func start(untilNS deadlineNS: UInt64) throws(MachineControlError) {
    try start(limitNS: nil, untilNS: deadlineNS)
  }
}

/// Makes VMs.
public protocol MachineFactory: Sendable {
  /// Makes a VM in state `ready`. `changed` is called with each change of state, in order, on any thread; it must not
  /// wait.
  func make(
    _ configuration: MachineConfiguration, changed: @escaping @Sendable (MachineState) -> Void
  ) throws(MachineCreationError) -> any ManagedMachine
}

/// Makes real VMs on the host's KVM.
public struct KVMMachineFactory: MachineFactory {
  private let system: KVMSystem

  /// A factory on `system`.
  public init(system: KVMSystem) { self.system = system }

  /// Makes a real VM.
  public func make(
    _ configuration: MachineConfiguration, changed: @escaping @Sendable (MachineState) -> Void
  ) throws(MachineCreationError) -> any ManagedMachine {
    try Machine(configuration, on: system, changed: changed)
  }
}
