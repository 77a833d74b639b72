public import ComparedKicks
import LinuxSupport

/// What a kick costs, beside the same kick in bare C.
///
/// One kicker waits before each kick, so that it finds the vCPU in the guest. It kicks several vCPUs one after the other,
/// and then all at once. Several kickers kick as fast as they are answered.
public struct KickBenchmark: Benchmark {
  /// Rounds. Each has every case, with both sides one after the other.
  public var rounds: Int
  /// How often one kicker kicks in a round and side, at most.
  public var kicksPerRound: Int
  /// How long a round and side may take. Several kickers kick for exactly so long.
  public var roundNS: UInt64
  /// The mechanisms by which both sides kick.
  public var mechanisms: [ComparedMechanism]
  /// The guests that are kicked.
  public var guests: [BenchmarkGuest]
  /// How many threads kick.
  public var kickers: [Int]
  /// How many vCPUs the VM has, at most 8.
  public var vcpus: [Int]

  package static let name = "kick"
  /// Long enough for the vCPU to be back in the guest: an entry takes tens of microseconds on a paravirtual host.
  static let pauseNS: UInt64 = 50_000
  /// After how long a kick counts as lost where none may be: so long that a busy host's late kick does not count.
  private static let patienceNS: UInt64 = 10_000_000_000
  /// Shorter than the time after which the server sends a signal again, which would hide the loss.
  static let racyPatienceNS: UInt64 = 9_000_000

  /// Everything by default as `vmpool bench kick` does it.
  public init(
    rounds: Int = 40, kicksPerRound: Int = 1000, roundNS: UInt64 = 250_000_000,
    mechanisms: [ComparedMechanism] = [.immediateExit], guests: [BenchmarkGuest] = [.spin], kickers: [Int] = [1],
    vcpus: [Int] = [1]
  ) {
    self.rounds = rounds
    self.kicksPerRound = kicksPerRound
    self.roundNS = roundNS
    self.mechanisms = mechanisms
    self.guests = guests
    self.kickers = kickers
    self.vcpus = vcpus
  }

  package var subjects: [BenchmarkCase.Subject] {
    guests.flatMap { guest in
      mechanisms.flatMap { mechanism in
        kickers.flatMap { kickers in
          vcpus.map { vcpus in
            BenchmarkCase.Subject(
              mechanism: mechanism.rawValue, guest: guest.rawValue, kickers: kickers, vcpus: vcpus)
          }
        }
      }
    }
  }

  package var settings: [String: Int] {
    [
      "kicks_per_round": kicksPerRound, "round_ns": Int(roundNS), "pause_ns": Int(Self.pauseNS),
      "signal_only_lost_after_ns": Int(Self.racyPatienceNS), "memory_mib": TestBed.memoryMiB,
    ]
  }

  package func round(
    _ subject: BenchmarkCase.Subject, _ bed: TestBed, bareFirst: Bool
  ) throws(BenchmarkError) -> (bare: Tally, vmpool: Tally) {
    let (guest, mechanism) = subject.parts
    let placement = ProcessorPlacement(vcpus: subject.vcpus)
    func bare() throws(BenchmarkError) -> Tally {
      let vm = try placement.creatingVCPUs { () throws(BenchmarkError) in
        try bed.bareVM(guest, vcpus: subject.vcpus, mechanism: mechanism)
      }
      return try measure(vm, subject, guest, mechanism, placement)
    }
    func ours() throws(BenchmarkError) -> Tally {
      let vm = try placement.creatingVCPUs { () throws(BenchmarkError) in
        try bed.machine(guest, vcpus: subject.vcpus, mechanism: mechanism)
      }
      return try measure(vm, subject, guest, mechanism, placement)
    }
    return try bothSides(bareFirst: bareFirst, bare: bare, vmpool: ours)
  }

  private func measure(
    _ vm: some BenchmarkVM, _ subject: BenchmarkCase.Subject, _ guest: BenchmarkGuest, _ mechanism: ComparedMechanism,
    _ placement: borrowing ProcessorPlacement
  ) throws(BenchmarkError) -> Tally {
    defer { vm.destroy() }
    let kicker = Kicker(vm: vm, patienceNS: mechanism == .signalOnly ? Self.racyPatienceNS : Self.patienceNS)
    try vm.start()
    // These kicks do not count: the guest's pages are not there yet, nor is the code in the caches.
    _ = try kicker.kickAtLeisure(20, pauseNS: Self.pauseNS, untilNS: MonotonicClock.now() + roundNS / 10)
    let tally: Tally
    if subject.kickers == 1 {
      tally = try kicker.kickAtLeisure(kicksPerRound, pauseNS: Self.pauseNS, untilNS: MonotonicClock.now() + roundNS)
    } else {
      let all = try placement.creatingKickers { () throws(BenchmarkError) in
        try kicker.storm(threads: subject.kickers, forNS: roundNS / 2)
      }
      let one = try placement.creatingKickers { () throws(BenchmarkError) in
        try kicker.storm(threads: 1, forNS: roundNS / 2)
      }
      var storm = all.tally
      storm.record(.storm, all.nsPerKick)
      storm.record(.stormOfOne, one.nsPerKick)
      tally = storm
    }
    if !guest.staysHalted { try vm.checkThatItRuns() }
    return tally
  }
}

extension BenchmarkCase.Subject {
  /// The guest and the mechanism that its names mean. Only names that a benchmark wrote may stand in it.
  var parts: (BenchmarkGuest, ComparedMechanism) {
    guard let guest = BenchmarkGuest(rawValue: guest), let mechanism = ComparedMechanism(rawValue: mechanism) else {
      preconditionFailure("there is no guest \(guest) or no mechanism \(mechanism)")
    }
    return (guest, mechanism)
  }
}
