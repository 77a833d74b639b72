import VCPURuntime

/// What may happen to a VM, as a pure state machine: no locks, no threads, no KVM.
///
///              start            pause
///     ready ─────────▶ running ◀─────▶ paused
///      ▲│                 │    resume     │
///      │└────── stop, or the guest by itself ─────▶ stopping ──last vCPU parked──▶ stopped
///      └──────────────────────────────────── reset ───────────────────────────────────┘
///
/// `stopping` shows as the state before it until the last vCPU is parked for good: only then does the guest write nothing
/// any more.
///
/// From one `ready` to the next is a run. Runs are numbered: a deadline or a vCPU's end that names an earlier run has come
/// too late, and does nothing.
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
    case deadline(run: UInt64)
    case vcpuFinished(VCPUEnd, run: UInt64)
    case vcpuParkedForGood(run: UInt64)
    case reset
    /// A stop after which there is no reset: the VM is about to be taken apart.
    case destroy
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
  /// The number of this run: how often the VM was reset. Its vCPUs count along.
  private(set) var run: UInt64 = 0
  private let vcpus: Int
  private var halted = 0
  private var parkedForGood = 0
  private var isDestroyed = false

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

  /// Whether a vCPU has halted for good, while others go on.
  var hasHaltedVCPU: Bool { halted > 0 }

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
    case (.reset, .stopped) where !isDestroyed: return beginRun()
    case (.reset, .ready): return .none
    case (.start, _), (.pause, _), (.resume, _), (.reset, _): return .refuse
    case (.stop(let stop), _): return beginStop(stop)
    case (.destroy, _):
      isDestroyed = true
      return beginStop(.killed)
    case (.deadline(let number), _): return number == run ? beginStop(.deadline) : .none
    case (.vcpuFinished(let end, let number), _): return number == run ? finish(end) : .none
    case (.vcpuParkedForGood(let number), _): return number == run ? park() : .none
    }
  }

  private mutating func beginRun() -> Action {
    run += 1
    (halted, parkedForGood) = (0, 0)
    return enter(.ready, .ready)
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

  /// One vCPU's end is the guest's, but a guest has halted when all its vCPUs have.
  private mutating func finish(_ end: VCPUEnd) -> Action {
    if end == .halted { halted += 1 }
    return end != .halted || halted == vcpus ? beginStop(.guest(end)) : .none
  }

  private mutating func park() -> Action {
    parkedForGood += 1
    guard parkedForGood == vcpus, case .stopping(let stop, _) = phase else { return .none }
    phase = .stopped(stop)
    return .announceStop(stop)
  }
}
