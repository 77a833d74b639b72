import Devices
import GuestImages
import GuestMemory
import KVM
public import SystemPackage
import VCPURuntime

/// Why a VM could not be made. Its parts are gone.
public enum MachineCreationError: Error, Sendable, CustomStringConvertible {
  /// The image does not fit the VM.
  case image(GuestLayoutError)
  /// Guest memory could not be had.
  case memory(MappingError)
  /// A part of the image has no place in the VM's memory.
  case address(GuestAddressError)
  /// The kernel refused.
  case kvm(KVMError)
  /// A vCPU could not be started.
  case vcpu(VCPUStartError)
  /// A device's interrupt line could not be had.
  case interrupt(Errno)
  /// The devices contradict each other.
  case devices(BusError)
  /// A device refuses the state that its template has for it.
  case state(DeviceStateError)

  /// What happened.
  public var description: String {
    switch self {
    case .image(let error): "\(error)"
    case .memory(let error): "\(error)"
    case .address(let error): "the image is laid out at \(error)"
    case .kvm(let error): "\(error)"
    case .vcpu(let error): "\(error)"
    case .interrupt(let errno):
      "no event counter for a device's interrupt: \(errno); raise the limit on files (ulimit -n, LimitNOFILE)"
    case .devices(let error): "\(error)"
    case .state(let error): "\(error)"
    }
  }

  /// Whether the host ran out of something, so that trying later may succeed.
  public var isExhaustion: Bool {
    switch self {
    case .memory, .vcpu, .interrupt: true
    case .kvm(let error): error.isExhaustion
    case .image, .address, .devices, .state: false
    }
  }
}

/// Why a VM could not be controlled.
public enum MachineControlError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The operation is impossible in the state the VM is in, or because it is about to stop: it then shows the state it
  /// was in until its last vCPU is parked.
  case invalidState(operation: String, MachineState, isStopping: Bool = false)
  /// A vCPU did not acknowledge in time. The request stands: asking again continues to wait for it.
  case timedOut(waitedNS: UInt64)
  /// There is no vCPU of that number.
  case noSuchVCPU(index: Int, count: Int)
  /// The guest cannot take these arguments.
  case arguments(GuestArgumentsError)
  /// The VM is being deleted.
  case deleted
  /// The kick signal could not be sent, or the kernel refused.
  case failed(String)

  /// What happened, and what to do next.
  public var description: String {
    switch self {
    case .invalidState(let operation, _, isStopping: true):
      "cannot \(operation) a VM that is about to stop. \(Self.makeAnother)"
    case .invalidState(let operation, let state, _):
      "cannot \(operation) a VM that is \(state.name)\(Self.advice(operation, state))"
    case .timedOut(let waited): "a vCPU did not acknowledge within \(waited / 1_000_000) ms; ask again to wait longer"
    case .noSuchVCPU(let index, let count): "there is no vCPU \(index): the VM has \(count), counted from 0"
    case .arguments(let error): "\(error)"
    case .deleted: "the VM is being deleted"
    case .failed(let detail): detail
    }
  }

  private static let makeAnother = "A stopped VM does not run again; make another."

  private static func advice(_ operation: String, _ state: MachineState) -> String {
    switch (operation, state) {
    case (_, .stopped): ". \(makeAnother)"
    case (Machine.readRegisters, .running): ". Pause it first."
    case (Machine.readRegisters, .ready): ". Start it, then pause it."
    case ("start", .paused): ". Resume it."
    case ("pause", .ready), ("resume", .ready): ". Start it first."
    default: ""
    }
  }
}
