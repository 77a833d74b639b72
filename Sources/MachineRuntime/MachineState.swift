import VCPURuntime

/// How a VM stopped.
public enum MachineStop: Sendable, Equatable {
  /// The guest ended by itself: on one vCPU, or all have halted.
  case guest(VCPUEnd)
  /// A client, or the server, stopped it.
  case killed
  /// Its deadline passed.
  case deadline

  /// Every `reason` that there is.
  public static let reasons = ["exited", "halted", "powered_off", "reset", "crashed", "killed", "deadline"]

  /// The word that the API and the metrics use.
  public var reason: String {
    switch self {
    case .guest(.exited): "exited"
    case .guest(.halted): "halted"
    case .guest(.poweredOff): "powered_off"
    case .guest(.reset): "reset"
    case .guest(.crashed): "crashed"
    case .killed: "killed"
    case .deadline: "deadline"
    }
  }

  /// The guest's exit code; nil unless it exited.
  public var exitCode: UInt8? { if case .guest(.exited(let code)) = self { code } else { nil } }

  /// Why the guest crashed, as a sentence; nil unless it did.
  public var crash: String? { if case .guest(.crashed(let detail)) = self { detail } else { nil } }
}

/// What a VM is.
public enum MachineState: Sendable, Equatable {
  /// Loaded, never started.
  case ready
  /// Its vCPUs are in the guest.
  case running
  /// Its vCPUs are parked and can go on.
  case paused
  /// Its vCPUs are parked for good.
  case stopped(MachineStop)

  /// The word that the API and the metrics use.
  public var name: String {
    switch self {
    case .ready: "ready"
    case .running: "running"
    case .paused: "paused"
    case .stopped: "stopped"
    }
  }
}
