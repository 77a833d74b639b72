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
  /// Asking for a lease to having one.
  public let leaseWait = DurationHistogram(bounds: DurationHistogram.requestBounds)
  /// What became of requests for leases, and of leases.
  public let leases = LeaseCounts()
  /// What became of resets.
  public let resets = ResetCounts()
  /// Putting a VM back to its template, where that succeeded, its verification included.
  public let resetTime = DurationHistogram(bounds: DurationHistogram.kickBounds)
  /// How VMs stopped.
  public let stops = StopCounts()
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
  /// The most VMs it may have; nil for no limit but the server's.
  public let maxVMs: Int?
  /// VMs by state; `creating`, `quarantined` and, handed over but not started, `taken` among them.
  public let vms: [String: Int]
  /// VMs that are under a lease.
  public let leased: Int
  /// Clients waiting for a lease.
  public let waiting: Int
  /// Attempts to make a VM that have failed since one succeeded.
  public let refillFailures: Int
  /// How it stands with the template of its VMs; nil where it needs none, and for VMs created by hand.
  public let template: TemplateStatus?
  /// Counts of all its VMs, deleted ones included.
  public let counts: VCPUCounts
  /// Latencies and durations.
  public let measurements: PoolMeasurements
}

/// Counts how VMs stopped.
public final class StopCounts: Sendable {
  // Relaxed: each is a count of its own that orders nothing else and pairs with nothing.
  private let counts: InlineArray<7, Atomic<UInt64>> = InlineArray { _ in Atomic(0) }

  func count(_ stop: MachineStop) {
    guard let place = MachineStop.reasons.firstIndex(of: stop.reason) else { return }
    counts[place].wrappingAdd(1, ordering: .relaxed)
  }

  /// The counts, in the order of the reasons.
  public var snapshot: [(reason: String, count: UInt64)] {
    MachineStop.reasons.enumerated().map { ($1, counts[$0].load(ordering: .relaxed)) }
  }
}

/// Counts what became of requests for leases, and of leases.
public final class LeaseCounts: Sendable {
  /// What is counted.
  public enum Result: String, Sendable, CaseIterable {
    /// A VM was handed over.
    case granted
    /// No VM was ready in time.
    case exhausted
    /// The client left before its turn, or before it had its answer.
    case abandoned
    /// The server or the pool was about to end, or the lease could not be recorded, or its guest not be prepared.
    case refused
    /// The holder gave the VM back.
    case released
    /// Its time was up.
    case expired
    /// The VM or the pool was deleted under it.
    case lost
  }

  // Relaxed: each is a count of its own that orders nothing else and pairs with nothing.
  private let counts: InlineArray<7, Atomic<UInt64>> = InlineArray { _ in Atomic(0) }

  func count(_ result: Result) {
    guard let place = Result.allCases.firstIndex(of: result) else { return }
    counts[place].wrappingAdd(1, ordering: .relaxed)
  }

  func count(_ refusal: LeaseRefusal) {
    switch refusal {
    case .exhausted: count(.exhausted)
    case .noSuchPool, .poolDeleted, .draining, .quota, .notRecorded, .argumentsRefused: count(Result.refused)
    }
  }

  func count(_ end: LeaseEnd) {
    switch end {
    case .released: count(Result.released)
    case .expired: count(Result.expired)
    case .abandoned: count(Result.abandoned)
    case .notRecorded: count(Result.refused)
    case .vmDeleted, .poolDeleted, .serverEnded: count(Result.lost)
    }
  }

  /// The counts, in the order of the results.
  public var snapshot: [(result: Result, count: UInt64)] {
    Result.allCases.enumerated().map { ($1, counts[$0].load(ordering: .relaxed)) }
  }
}

/// Counts what became of resets, and what they put back.
public final class ResetCounts: Sendable {
  /// What is counted.
  public enum Result: String, Sendable, CaseIterable {
    /// The VM is ready again.
    case ok
    /// It could not be put back, and was taken apart.
    case failed
    /// It was put back, differs from its template all the same, and was taken apart.
    case differed
  }

  // Relaxed: each is a count of its own that orders nothing else and pairs with nothing.
  private let counts: InlineArray<3, Atomic<UInt64>> = InlineArray { _ in Atomic(0) }
  private let begun = Atomic<UInt64>(0)
  private let copied = Atomic<UInt64>(0)

  /// The number of the reset that begins, from 0.
  func begin() -> UInt64 { begun.wrappingAdd(1, ordering: .relaxed).oldValue }

  func count(_ result: Result) {
    guard let place = Result.allCases.firstIndex(of: result) else { return }
    counts[place].wrappingAdd(1, ordering: .relaxed)
  }

  func count(pages: Int) { copied.wrappingAdd(UInt64(pages), ordering: .relaxed) }

  /// Pages of memory that were put back.
  public var pages: UInt64 { copied.load(ordering: .relaxed) }

  /// The counts, in the order of the results.
  public var snapshot: [(result: Result, count: UInt64)] {
    Result.allCases.enumerated().map { ($1, counts[$0].load(ordering: .relaxed)) }
  }
}
