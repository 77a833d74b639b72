import VCPURuntime

/// What may happen to a VM, as a pure state machine: no locks, no threads, no KVM.
///
///              start            pause
///     ready ─────────▶ running ◀─────▶ paused
///       │                 │    resume     │
///       └────── stop, or the guest by itself ─────▶ stopping ──last vCPU parked──▶ stopped
///
/// `stopping` shows as the state before it until the last vCPU is parked for good: only then does the guest write nothing
/// any more.
struct Lifecycle: Sendable {
  enum Phase: Sendable, Equatable {
    case ready
    case running
    case paused
    case stopping(MachineStop, from: Shown)
    case stopped(MachineStop)
  }

  /// What a VM that is about to stop still shows.
  enum Shown: Sendable, Equatable {
    case ready, running, paused
  }

  enum Event: Sendable, Equatable {
    case start
    case pause
    case resume
    case stop(MachineStop)
    case vcpuFinished(VCPUStop)
    case vcpuParkedForGood
  }

  enum Action: Sendable, Equatable {
    /// Nothing to do: it is so already.
    case none
    /// Set this goal for every vCPU.
    case setGoal(VCPUGoal)
    /// The VM has stopped: tell those who wait for it.
    case announceStop(MachineStop)
    /// The event is impossible in this state.
    case refuse
  }

  private(set) var phase = Phase.ready
  private let vcpus: Int
  private var halted = 0
  private var parkedForGood = 0

  init(vcpus: Int) { self.vcpus = vcpus }

  /// What others are shown.
  var state: MachineState {
    switch phase {
    case .ready, .stopping(_, from: .ready): .ready
    case .running, .stopping(_, from: .running): .running
    case .paused, .stopping(_, from: .paused): .paused
    case .stopped(let stop): .stopped(stop)
    }
  }

  /// Whether it is on its way to `stopped`.
  var isStopping: Bool { if case .stopping = phase { true } else { false } }

  mutating func on(_ event: Event) -> Action {
    switch (event, phase) {
    case (.start, .ready): return enter(.running, .run)
    case (.start, .running): return .none
    case (.pause, .running): return enter(.paused, .pause)
    case (.pause, .paused): return .none
    case (.resume, .paused): return enter(.running, .run)
    case (.resume, .running): return .none
    case (.start, _), (.pause, _), (.resume, _): return .refuse
    case (.stop(let stop), _): return beginStop(stop)
    case (.vcpuFinished(let stop), _): return finish(stop)
    case (.vcpuParkedForGood, _): return park()
    }
  }

  private mutating func enter(_ next: Phase, _ goal: VCPUGoal) -> Action {
    phase = next
    return .setGoal(goal)
  }

  /// The first reason to stop is the one that counts.
  private mutating func beginStop(_ stop: MachineStop) -> Action {
    let shown: Shown
    switch phase {
    case .ready: shown = .ready
    case .running: shown = .running
    case .paused: shown = .paused
    case .stopping, .stopped: return .none
    }
    phase = .stopping(stop, from: shown)
    return .setGoal(.stop)
  }

  private mutating func finish(_ stop: VCPUStop) -> Action {
    switch stop {
    case .exited(let code): return beginStop(.exited(code: code))
    case .poweredOff: return beginStop(.poweredOff)
    case .reset: return beginStop(.reset)
    case .crashed(let detail): return beginStop(.crashed(detail))
    case .halted:
      halted += 1
      return halted == vcpus ? beginStop(.halted) : .none
    }
  }

  private mutating func park() -> Action {
    parkedForGood += 1
    guard parkedForGood == vcpus, case .stopping(let stop, _) = phase else { return .none }
    phase = .stopped(stop)
    return .announceStop(stop)
  }
}
