import KVM
import MachineRuntime
public import SystemPackage
public import VCPURuntime

/// Why a benchmark could not be run to its end.
public enum BenchmarkError: Error, Sendable, CustomStringConvertible {
  /// The host's KVM cannot be used.
  case unavailable(KVMUnavailable)
  /// A VM could not be made.
  case creation(MachineCreationError)
  /// A VM could not be frozen or reset.
  case template(MachineTemplateError)
  /// A VM could not be controlled.
  case control(MachineControlError)
  /// A kick failed for another reason than that no acknowledgement came.
  case kick(KickError)
  /// A thread that kicks could not be created.
  case thread(Errno)
  /// The bare C loop failed in this operation.
  case bare(String, errno: Int32)
  /// A guest that never ends has left the guest, or makes no progress.
  case stopped(String)
  /// The guest of a clone has not ended in time, or a reset put fewer pages back than it had written.
  case clone(String)

  /// What happened.
  public var description: String {
    switch self {
    case .unavailable(let error): "\(error)"
    case .creation(let error): "\(error)"
    case .template(let error): "\(error)"
    case .control(let error): "\(error)"
    case .kick(let error): "\(error)"
    case .thread(let errno): "no thread for a kicker: \(errno); raise the limit on processes (ulimit -u, TasksMax)"
    case .bare(let operation, let errno): "the bare C loop failed in \(operation), errno \(errno)"
    case .stopped(let whose): "a guest that never ends has stopped: \(whose)"
    case .clone(let what): "a clone failed: \(what)"
    }
  }
}
