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
}
