public import ComparedKicks
import Glibc
import LinuxSupport

/// What an exit to user space costs, beside a bare C loop. Guests that do nothing but exit run for a while, and the benchmark
/// counts their exits. With several vCPUs, as many VMs of one vCPU each exit at once in this process. That shows the cost of
/// KVM_SET_SIGNAL_MASK, which takes a lock of the process twice at every KVM_RUN (Linux commit 460df4c1fc7c).
public struct ExitBenchmark: Benchmark {
  /// Rounds. In each, every case has one window on either side.
  public var rounds: Int
  /// For how long exits are counted.
  public var windowNS: UInt64
  /// The mechanisms for which both sides set up their vCPUs.
  public var mechanisms: [ComparedMechanism]
  /// The guests that exit.
  public var guests: [BenchmarkGuest]
  /// How many vCPUs exit at once.
  public var vcpus: [Int]

  package static let name = "exits"

  /// Everything by default as `vmpool bench exits` does it.
  public init(
    rounds: Int = 30, windowNS: UInt64 = 20_000_000, mechanisms: [ComparedMechanism] = ComparedMechanism.sound,
    guests: [BenchmarkGuest] = [.pio, .mmio], vcpus: [Int] = [1]
  ) {
    self.rounds = rounds
    self.windowNS = windowNS
    self.mechanisms = mechanisms
    self.guests = guests
    self.vcpus = vcpus
  }

  package var subjects: [BenchmarkCase.Subject] {
    guests.flatMap { guest in
      vcpus.flatMap { vcpus in
        mechanisms.map { mechanism in
          BenchmarkCase.Subject(mechanism: mechanism.rawValue, guest: guest.rawValue, kickers: 0, vcpus: vcpus)
        }
      }
    }
  }

  package var settings: [String: Int] { ["window_ns": Int(windowNS), "memory_mib": TestBed.memoryMiB] }

  package func round(
    _ subject: BenchmarkCase.Subject, _ bed: TestBed, bareFirst: Bool
  ) throws(BenchmarkError) -> (bare: Tally, vmpool: Tally) {
    let (guest, mechanism) = subject.parts
    let placement = ProcessorPlacement(vcpus: subject.vcpus)
    func bare() throws(BenchmarkError) -> Tally {
      try measure(subject, placement) { () throws(BenchmarkError) in try bed.bareVM(guest, mechanism: mechanism) }
    }
    func ours() throws(BenchmarkError) -> Tally {
      try measure(subject, placement) { () throws(BenchmarkError) in try bed.machine(guest, mechanism: mechanism) }
    }
    return try bothSides(bareFirst: bareFirst, bare: bare, vmpool: ours)
  }

  private func measure<VM: BenchmarkVM>(
    _ subject: BenchmarkCase.Subject, _ placement: borrowing ProcessorPlacement,
    _ create: () throws(BenchmarkError) -> VM
  ) throws(BenchmarkError) -> Tally {
    var vms: [VM] = []
    defer { for vm in vms { vm.destroy() } }
    // One vCPU is kept off the processor of the thread that counts; several may use them all.
    for _ in 0..<subject.vcpus {
      vms.append(subject.vcpus == 1 ? try placement.creatingVCPUs(create) : try placement.creatingAnywhere(create))
    }
    for vm in vms { try vm.start() }
    let tally = try count(vms)
    for vm in vms { try vm.checkThatItRuns() }
    // All are asked before `destroy` waits for the first: a vCPU that stops would else wait its turn among those that run.
    for vm in vms { try vm.askToStop() }
    return tally
  }

  /// Counts exits for a window. A tenth of it passes first, so that the guests have begun.
  private func count(_ vms: [some BenchmarkVM]) throws(BenchmarkError) -> Tally {
    usleep(UInt32(windowNS / 10_000))
    let before = Reading(vms)
    // On a busy host, a window may be too short for even one exit.
    while true {
      usleep(UInt32(windowNS / 1000))
      let after = Reading(vms)
      let exits = after.exits - before.exits
      if exits > 0 {
        var tally = Tally()
        tally.record(.perExit, (after.time - before.time + exits / 2) / exits)
        tally.record(.cpuPerExit, (after.cpu - before.cpu + exits / 2) / exits)
        tally.count("exits", Int(exits))
        return tally
      }
      for vm in vms { try vm.checkThatItRuns() }
      if after.time - before.time > Self.patienceNS { throw .stopped("no exit in \(Self.patienceNS) ns") }
    }
  }

  private static let patienceNS: UInt64 = 10_000_000_000

  private struct Reading {
    let exits: UInt64
    let time = MonotonicClock.now()
    let cpu: UInt64

    init(_ vms: [some BenchmarkVM]) {
      var used = timespec()
      // Safe: a local outlives the call, which cannot fail for the caller's own process.
      _ = unsafe clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used)
      cpu = UInt64(used.tv_sec) * 1_000_000_000 + UInt64(used.tv_nsec)
      exits = vms.reduce(0) { $0 + $1.exits() }
    }
  }

  /// What each mechanism costs beside `immediate_exit`, in processor time, on both sides.
  package func relate(_ tallies: [(bare: Tally, vmpool: Tally)], _ recorders: inout [CaseRecorder]) {
    for (index, tally) in tallies.enumerated() {
      var reference = recorders[index].subject
      reference.mechanism = ComparedMechanism.immediateExit.rawValue
      guard let at = recorders.firstIndex(where: { $0.subject == reference }), at != index else { continue }
      for (side, path) in [("bare", \(bare: Tally, vmpool: Tally).bare), ("vmpool", \.vmpool)] {
        guard let own = tally[keyPath: path].quantile(.cpuPerExit, perMille: 500),
          let other = tallies[at][keyPath: path].quantile(.cpuPerExit, perMille: 500)
        else { continue }
        recorders[index].addRatio("cpu_per_exit_to_immediate_exit_\(side)", own, other)
      }
    }
  }
}
