import VCPURuntime

/// What one vCPU does, and what it has counted.
public struct VCPUStatistics: Sendable {
  /// Its number.
  public let index: Int
  /// What it is doing.
  public let state: VCPUState
  /// Returns from KVM_RUN by reason.
  public let exits: [String: UInt64]
  /// Acknowledged kicks by phase.
  public let kicks: [KickPhase: UInt64]
  /// The kernel's binary statistics by name.
  public let kernel: [String: UInt64]
  /// How long its thread was on a processor, guest and host together.
  public let runningNS: UInt64
  /// How long its thread was runnable and had no processor.
  public let waitingNS: UInt64

  /// The same with what was counted since `earlier`.
  public func since(_ earlier: VCPUStatistics) -> VCPUStatistics {
    func difference<Key>(_ now: [Key: UInt64], _ then: [Key: UInt64]) -> [Key: UInt64] {
      // Some of the kernel's numbers are levels, which fall.
      Dictionary(uniqueKeysWithValues: now.map { ($0, $1 - min(then[$0] ?? 0, $1)) })
    }
    return VCPUStatistics(
      index: index, state: state, exits: difference(exits, earlier.exits).filter { $0.value > 0 },
      kicks: difference(kicks, earlier.kicks), kernel: difference(kernel, earlier.kernel),
      runningNS: runningNS - min(earlier.runningNS, runningNS), waitingNS: waitingNS - min(earlier.waitingNS, waitingNS)
    )
  }
}
