import VCPURuntime

/// What a VM's vCPUs counted, summed up; counts only grow while the VM lives.
public struct MachineCounts: Sendable, Equatable {
  /// Returns from KVM_RUN by reason.
  public var exits: [String: UInt64] = [:]
  /// Acknowledged kicks by phase.
  public var kicks: [KickPhase: UInt64] = [:]
  /// Kicks that were not acknowledged in time.
  public var kickTimeouts: UInt64 = 0
  /// The kernel's own count of returns because of a signal.
  public var kernelSignalExits: UInt64 = 0

  /// Nothing counted.
  public init() {}

  /// Adds another VM's counts, or a deleted one's.
  public static func += (left: inout MachineCounts, right: MachineCounts) {
    left.exits.merge(right.exits, uniquingKeysWith: +)
    left.kicks.merge(right.kicks, uniquingKeysWith: +)
    left.kickTimeouts += right.kickTimeouts
    left.kernelSignalExits += right.kernelSignalExits
  }
}

/// One vCPU, looked at.
public struct VCPUSnapshot: Sendable {
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
}
