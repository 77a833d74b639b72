import LinuxSupport
public import VCPURuntime

/// What making a VM costs, and unmaking it, beside the bare ioctls that do the same: 2 MiB laid out, one vCPU loaded,
/// its thread parked. The VM never runs.
public struct CreateBenchmark: Benchmark {
  /// Each with `vmsPerRound` VMs of both sides, by turns.
  public var rounds: Int
  /// VMs a round and side.
  public var vmsPerRound: Int
  /// How both sides' vCPUs are set up to be kicked.
  public var mechanisms: [KickMechanism]

  package static let name = "create"

  /// Everything by default as `vmpool bench create` does it.
  public init(rounds: Int = 40, vmsPerRound: Int = 25, mechanisms: [KickMechanism] = [.immediateExit]) {
    self.rounds = rounds
    self.vmsPerRound = vmsPerRound
    self.mechanisms = mechanisms
  }

  package var subjects: [BenchmarkCase.Subject] {
    mechanisms.map {
      BenchmarkCase.Subject(mechanism: $0.rawValue, guest: BenchmarkGuest.spin.rawValue, kickers: 0, vcpus: 1)
    }
  }

  package var settings: [String: Int] { ["vms_per_round": vmsPerRound] }

  package func round(
    _ subject: BenchmarkCase.Subject, _ bed: TestBed, bareFirst: Bool
  ) throws(BenchmarkError) -> (bare: Tally, vmpool: Tally) {
    let (guest, mechanism) = subject.parts
    var bare = Tally()
    var ours = Tally()
    for _ in 0..<vmsPerRound {
      try measure(&bare) { () throws(BenchmarkError) in try bed.bareVM(guest, mechanism: mechanism) }
      try measure(&ours) { () throws(BenchmarkError) in try bed.machine(guest, mechanism: mechanism) }
    }
    return (bare, ours)
  }

  private func measure(
    _ tally: inout Tally, _ create: () throws(BenchmarkError) -> some BenchmarkVM
  ) throws(BenchmarkError) {
    let start = MonotonicClock.now()
    let vm = try create()
    let created = MonotonicClock.now()
    vm.destroy()
    tally.record(.create, created - start)
    tally.record(.destroy, MonotonicClock.now() - created)
  }
}
