import Glibc
import LinuxSupport
import MachineRuntime
public import VCPURuntime

/// What an exit to user space costs, from one to the next, beside a bare C loop: guests that do nothing but exit, let
/// run for a while, their exits counted.
public struct ExitBenchmark: Benchmark {
  /// Each with one window of both sides for each guest.
  public var rounds: Int
  /// For how long exits are counted.
  public var windowNS: UInt64
  /// How both sides' vCPUs are set up to be kicked.
  public var mechanism: KickMechanism

  /// The guests and the exit reason each produces.
  static let guests = [(name: "pio", reason: "io"), (name: "mmio", reason: "mmio")]

  /// Everything by default as `vmpool bench exits` does it.
  public init(rounds: Int = 50, windowNS: UInt64 = 20_000_000, mechanism: KickMechanism = .immediateExit) {
    self.rounds = rounds
    self.windowNS = windowNS
    self.mechanism = mechanism
  }

  /// Runs it, on the calling thread. `progress` is told how many rounds are done.
  public func run(progress: (Int) -> Void) throws(BenchmarkError) -> ExitReport {
    let bed = try TestBed(mechanism: mechanism)
    let placement = ProcessorPlacement()
    var comparisons = Self.guests.map { ExitReport.Comparison(guest: $0.name) }
    for round in 0..<rounds {
      for (index, guest) in Self.guests.enumerated() {
        comparisons[index].rounds.append(try compare(bed, placement, guest.name, guest.reason))
      }
      progress(round + 1)
    }
    for index in comparisons.indices { comparisons[index].summarise() }
    return ExitReport(host: HostDescription(), self, isPinned: placement.isInEffect, guests: comparisons)
  }

  private func compare(
    _ bed: TestBed, _ placement: borrowing ProcessorPlacement, _ name: String, _ reason: String
  ) throws(BenchmarkError) -> ExitReport.Round {
    let guest = TestBed.guest(name)
    let bare = try placement.creatingVCPUs { () throws(BenchmarkError) in try bed.bareVM(guest) }
    bare.run()
    let bareCount = try count { () throws(BenchmarkError) in try bare.exits() }
    try bare.park()

    let machine = try placement.creatingVCPUs { () throws(BenchmarkError) in try bed.machine(guest) }
    defer { machine.destroy() }
    let vcpu = try machine.firstVCPU()
    try machine.setRunning(true)
    let ours = try count { () throws(BenchmarkError) in vcpu.counts.exits[reason] ?? 0 }
    if case .stopped(let stop) = machine.state { throw .stopped("\(stop)") }
    return ExitReport.Round(bare: bareCount, vmpool: ours)
  }

  /// Lets a tenth of the window pass first, for the guest to be there.
  private func count(_ exits: () throws(BenchmarkError) -> UInt64) throws(BenchmarkError) -> ExitReport.Count {
    usleep(UInt32(windowNS / 10_000))
    let before = (exits: try exits(), time: MonotonicClock.now())
    // On a host that has no time for the guest a window may be too short for even one exit.
    while true {
      usleep(UInt32(windowNS / 1000))
      let after = (exits: try exits(), time: MonotonicClock.now())
      if after.exits > before.exits {
        return ExitReport.Count(exits: after.exits - before.exits, ns: after.time - before.time)
      }
      if after.time - before.time > Self.patienceNS { throw .stopped("no exit in \(Self.patienceNS) ns") }
    }
  }

  private static let patienceNS: UInt64 = 10_000_000_000
}
