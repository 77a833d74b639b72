import LinuxSupport
public import VCPURuntime

/// What a kick costs, beside the same kick in bare C: a guest that only a kick gets out of KVM_RUN, kicked again and
/// again by one thread.
public struct KickBenchmark: Benchmark {
  /// Each with `kicksPerRound` kicks of both sides, one after the other.
  public var rounds: Int
  /// Kicks a round and side.
  public var kicksPerRound: Int
  /// How both sides kick.
  public var mechanism: KickMechanism

  static let guest = "spin"
  /// Long enough for the vCPU to be back in the guest: an entry takes tens of microseconds on a paravirtual host.
  static let pauseNS: UInt64 = 50_000

  /// Everything by default as `vmpool bench kick` does it.
  public init(rounds: Int = 40, kicksPerRound: Int = 1000, mechanism: KickMechanism = .immediateExit) {
    self.rounds = rounds
    self.kicksPerRound = kicksPerRound
    self.mechanism = mechanism
  }

  /// Runs it, on the calling thread. `progress` is told how many rounds are done.
  public func run(progress: (Int) -> Void) throws(BenchmarkError) -> KickReport {
    let bed = try TestBed(mechanism: mechanism)
    let placement = ProcessorPlacement()
    let guest = TestBed.guest(Self.guest)
    let bare = try placement.creatingVCPUs { () throws(BenchmarkError) in try bed.bareVM(guest) }
    let machine = try placement.creatingVCPUs { () throws(BenchmarkError) in try bed.machine(guest) }
    defer { machine.destroy() }
    let vcpu = try machine.firstVCPU()
    var done: [KickReport.Round] = []
    for round in 0..<rounds {
      bare.run()
      let bareFigures = try kickBare(bare)
      try bare.park()
      try machine.setRunning(true)
      let ours = try kickOurs(vcpu)
      try machine.setRunning(false)
      done.append(KickReport.Round(bare: bareFigures, vmpool: ours))
      progress(round + 1)
    }
    return KickReport(host: HostDescription(), self, isPinned: placement.isInEffect, rounds: done)
  }

  private func kickBare(_ vm: borrowing BareVM) throws(BenchmarkError) -> KickFigures {
    var samples: [KickSample] = []
    samples.reserveCapacity(kicksPerRound)
    var lost = 0
    for _ in 0..<kicksPerRound {
      spin(forNS: Self.pauseNS)
      if let sample = try vm.kick() { samples.append(sample) } else { lost += 1 }
    }
    return KickFigures(samples, lost: lost, phases: nil)
  }

  private func kickOurs(_ vcpu: VCPU) throws(BenchmarkError) -> KickFigures {
    var samples: [KickSample] = []
    samples.reserveCapacity(kicksPerRound)
    var lost = 0
    var phases: [String: Int] = [:]
    for _ in 0..<kicksPerRound {
      spin(forNS: Self.pauseNS)
      let start = MonotonicClock.now()
      do throws(KickError) {
        let outcome = try vcpu.kick(timeoutNS: 1_000_000_000)
        samples.append(KickSample(latencyNS: outcome.latencyNS, callNS: MonotonicClock.now() - start))
        phases["\(outcome.phase)", default: 0] += 1
      } catch {
        guard case .timedOut = error else { throw .kick(error) }
        lost += 1
      }
    }
    return KickFigures(samples, lost: lost, phases: phases)
  }
}
