public import ComparedKicks
import LinuxSupport

/// What it costs to make and to unmake a VM, beside the bare ioctls that do the same. The VM has 2 MiB laid out and one vCPU
/// loaded, whose thread is parked; it never runs. A round makes all of its VMs before it unmakes one, as a pool does. The more
/// VMs there are, the more each costs, since the kernel looks at every mapping of the process.
public struct CreateBenchmark: Benchmark {
  /// Rounds. Each makes `vmsPerRound` VMs of one side and then of the other.
  public var rounds: Int
  /// How many VMs of a side are there at once.
  public var vmsPerRound: Int
  /// The mechanisms for which both sides set up their vCPUs.
  public var mechanisms: [ComparedMechanism]

  package static let name = "create"

  /// Everything by default as `vmpool bench create` does it.
  public init(rounds: Int = 40, vmsPerRound: Int = 25, mechanisms: [ComparedMechanism] = [.immediateExit]) {
    self.rounds = rounds
    self.vmsPerRound = vmsPerRound
    self.mechanisms = mechanisms
  }

  package var subjects: [BenchmarkCase.Subject] {
    mechanisms.map {
      BenchmarkCase.Subject(mechanism: $0.rawValue, guest: BenchmarkGuest.spin.rawValue, kickers: 0, vcpus: 1)
    }
  }

  package var settings: [String: Int] { ["vms_per_round": vmsPerRound, "memory_mib": TestBed.memoryMiB] }

  package func round(
    _ subject: BenchmarkCase.Subject, _ bed: TestBed, bareFirst: Bool
  ) throws(BenchmarkError) -> (bare: Tally, vmpool: Tally) {
    let (guest, mechanism) = subject.parts
    func bare() throws(BenchmarkError) -> Tally {
      try measure { () throws(BenchmarkError) in try bed.bareVM(guest, mechanism: mechanism) }
    }
    func ours() throws(BenchmarkError) -> Tally {
      try measure { () throws(BenchmarkError) in try bed.machine(guest, mechanism: mechanism) }
    }
    return try bothSides(bareFirst: bareFirst, bare: bare, vmpool: ours)
  }

  private func measure<VM: BenchmarkVM>(_ create: () throws(BenchmarkError) -> VM) throws(BenchmarkError) -> Tally {
    var tally = Tally()
    var vms: [VM] = []
    defer { for vm in vms { vm.destroy() } }
    while vms.count < vmsPerRound {
      let start = MonotonicClock.now()
      vms.append(try create())
      tally.record(.create, MonotonicClock.now() - start)
    }
    while let vm = vms.popLast() {
      let start = MonotonicClock.now()
      vm.destroy()
      tally.record(.destroy, MonotonicClock.now() - start)
    }
    return tally
  }
}
