import GuestImages
import LinuxSupport
import MachineRuntime
public import VCPURuntime

/// What making a VM costs, and unmaking it, beside the bare ioctls that do the same: 2 MiB laid out, one vCPU loaded,
/// its thread parked. The VM never runs.
public struct CreateBenchmark: Benchmark {
  /// Each with `vmsPerRound` VMs of both sides, by turns.
  public var rounds: Int
  /// VMs a round and side.
  public var vmsPerRound: Int
  /// How both sides' vCPUs are set up to be kicked.
  public var mechanism: KickMechanism

  static let guest = "spin"

  /// Everything by default as `vmpool bench create` does it.
  public init(rounds: Int = 40, vmsPerRound: Int = 25, mechanism: KickMechanism = .immediateExit) {
    self.rounds = rounds
    self.vmsPerRound = vmsPerRound
    self.mechanism = mechanism
  }

  /// Runs it, on the calling thread. `progress` is told how many rounds are done.
  public func run(progress: (Int) -> Void) throws(BenchmarkError) -> CreateReport {
    let bed = try TestBed(mechanism: mechanism)
    let guest = TestBed.guest(Self.guest)
    var done: [CreateReport.Round] = []
    for round in 0..<rounds {
      var bare = Durations()
      var ours = Durations()
      for _ in 0..<vmsPerRound {
        try makeBare(bed, guest, &bare)
        try makeOurs(bed, guest, &ours)
      }
      done.append(CreateReport.Round(bare: bare.figures, vmpool: ours.figures))
      progress(round + 1)
    }
    return CreateReport(host: HostDescription(), self, rounds: done)
  }

  private struct Durations {
    var create: [UInt64] = []
    var destroy: [UInt64] = []

    mutating func add(_ start: UInt64, _ created: UInt64, _ destroyed: UInt64) {
      create.append(created - start)
      destroy.append(destroyed - created)
    }

    var figures: CreateFigures { CreateFigures(create: Quantiles(of: create), destroy: Quantiles(of: destroy)) }
  }

  private func makeBare(
    _ bed: TestBed, _ guest: BuiltinGuest, _ durations: inout Durations
  ) throws(BenchmarkError) {
    let start = MonotonicClock.now()
    var vm: BareVM? = try bed.bareVM(guest)
    let created = MonotonicClock.now()
    vm = nil
    durations.add(start, created, MonotonicClock.now())
    _ = consume vm
  }

  private func makeOurs(
    _ bed: TestBed, _ guest: BuiltinGuest, _ durations: inout Durations
  ) throws(BenchmarkError) {
    let start = MonotonicClock.now()
    var machine: Machine? = try bed.machine(guest)
    let created = MonotonicClock.now()
    machine?.destroy()
    machine = nil
    durations.add(start, created, MonotonicClock.now())
  }
}
