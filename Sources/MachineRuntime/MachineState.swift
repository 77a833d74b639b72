/// How a VM stopped.
public enum MachineStop: Sendable, Equatable {
  /// The guest said that it was done.
  case exited(code: UInt8)
  /// Every vCPU executed HLT, and nothing can wake them.
  case halted
  /// The guest turned the machine off.
  case poweredOff
  /// The guest reset the machine, which is not started again.
  case reset
  /// The guest or its execution failed; the sentence is the kernel's detail.
  case crashed(String)
  /// A client, or the server, stopped it.
  case killed
  /// Its deadline passed.
  case deadline

  /// Every `reason` that there is.
  public static let reasons = ["exited", "halted", "powered_off", "reset", "crashed", "killed", "deadline"]

  /// The word that the API and the metrics use.
  public var reason: String {
    switch self {
    case .exited: "exited"
    case .halted: "halted"
    case .poweredOff: "powered_off"
    case .reset: "reset"
    case .crashed: "crashed"
    case .killed: "killed"
    case .deadline: "deadline"
    }
  }
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
