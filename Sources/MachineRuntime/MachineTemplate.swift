import Devices
import GuestImages
import GuestMemory
import KVM
import VCPURuntime

/// A VM as it stood still at one moment: what its clones begin with. In this process nothing of it is serialised.
///
/// Clones share its memory until they write. It lives as long as one of them. Any thread.
public final class MachineTemplate: ManagedTemplate {
  /// What a vCPU was.
  struct SavedVCPU: Sendable {
    let kvm: VCPUCheckpoint
    let loop: VCPULoopState
  }

  /// What the VM was made of.
  public let configuration: MachineConfiguration
  /// Its memory.
  public let memory: TemplateMemory
  let platform: Platform
  let arguments: ArgumentPlaces
  let overlay: OverlayMemory.Template?
  let vm: VMCheckpoint
  let vcpus: [SavedVCPU]
  let devices: [String: any DeviceState]
  let console: Console.State
  /// Whether its guest had been started, so that it is too late to tell it anything.
  let hasStarted: Bool
  private let system: KVMSystem

  init(
    configuration: MachineConfiguration, platform: Platform, arguments: ArgumentPlaces, memory: TemplateMemory,
    overlay: OverlayMemory.Template?, vm: VMCheckpoint, vcpus: [SavedVCPU], devices: [String: any DeviceState],
    console: Console.State, hasStarted: Bool, system: KVMSystem
  ) {
    self.configuration = configuration
    self.platform = platform
    self.arguments = arguments
    self.memory = memory
    self.overlay = overlay
    self.vm = vm
    self.vcpus = vcpus
    self.devices = devices
    self.console = console
    self.hasStarted = hasStarted
    self.system = system
  }

  /// Bytes of its memory that are kept: pages of zeros are not.
  public var storedBytes: UInt64 { memory.storedBytes }

  /// Makes a real VM of it.
  public func clone(
    name: String, deadlineNS: UInt64?, changed: @escaping @Sendable (MachineState) -> Void
  ) throws(MachineCreationError) -> any ManagedMachine {
    try Machine(cloning: self, name: name, deadlineNS: deadlineNS, on: system, changed: changed)
  }
}

/// Why a VM could not be frozen, reset or compared. A VM whose reset has failed is a mixture, and must not run again.
public enum MachineTemplateError: Error, Sendable, CustomStringConvertible {
  /// The VM is in another state than the operation needs, or its vCPUs did not answer in time.
  case control(MachineControlError)
  /// A vCPU has executed HLT for good, so its clones could not go on as it would.
  case vcpuHasHalted
  /// Memory for the copy could not be had.
  case memory(MappingError)
  /// The kernel refused.
  case kvm(KVMError)
  /// A device refused its own state.
  case device(DeviceStateError)
  /// The VM is no clone, so there is nothing to go back to.
  case noTemplate

  /// What happened, and what to do.
  public var description: String {
    switch self {
    case .control(let error): "\(error)"
    case .vcpuHasHalted: "a vCPU of the VM has halted for good; freeze the VM before its guest halts"
    case .memory(let error): "\(error)"
    case .kvm(let error): "\(error)"
    case .device(let error): "\(error)"
    case .noTemplate: "the VM was not made from a template; delete it and make another one"
    }
  }
}
