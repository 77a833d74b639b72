import MachineRuntime
import Metrics
import Synchronization
import VCPURuntime

/// What is measured of one pool's VMs, or of those created by hand. It outlives each VM, so no counter goes backwards.
public final class PoolMeasurements: Sendable {
  /// Request to KVM_RUN left. Kicks that found the vCPU parked are left out: there was nothing to leave.
  public let kickLatency = DurationHistogram(bounds: DurationHistogram.kickBounds)
  /// Request to signal handler.
  public let kickSignalLatency = DurationHistogram(bounds: DurationHistogram.kickBounds)
  /// Making a VM, from nothing to ready.
  public let createTime = DurationHistogram(bounds: DurationHistogram.kickBounds)
  /// What deleted VMs had counted; a leaf lock.
  private let retired = Mutex(VCPUCounts())

  func record(_ outcome: KickOutcome) {
    if outcome.phase != .parked { kickLatency.record(ns: outcome.latencyNS) }
    if let signalled = outcome.signalLatencyNS { kickSignalLatency.record(ns: signalled) }
  }

  func retire(_ counts: VCPUCounts) { retired.withLock { $0 += counts } }

  var retiredCounts: VCPUCounts { retired.withLock { $0 } }
}

/// One pool's metrics at one moment.
public struct PoolMetrics: Sendable {
  /// The pool; nil for VMs created by hand.
  public let pool: String?
  /// How many VMs it ought to keep ready; nil for VMs created by hand.
  public let target: Int?
  /// VMs by state, `creating` among them.
  public let vms: [String: Int]
  /// Counts of all its VMs, deleted ones included.
  public let counts: VCPUCounts
  /// Latencies and durations.
  public let measurements: PoolMeasurements
}
