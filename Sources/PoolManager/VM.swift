import Foundation
import MachineRuntime
import Synchronization
import VCPURuntime

/// A VM of the fleet.
public final class VM: Sendable {
  /// Unique for the life of the server: `vm-` and twelve hex digits.
  public let id: String
  /// The pool it was made for; nil for one created by hand.
  public let pool: String?
  /// When it was created.
  public let createdAt: Date
  /// The machine itself.
  public let machine: any ManagedMachine
  /// What its pool has measured.
  let measurements: PoolMeasurements
  /// The lease it is under; a leaf lock, written under the fleet's.
  private let holder = Mutex<(lease: String, fence: UInt64)?>(nil)
  /// Where kicks are counted; a leaf lock.
  private let account = Mutex(Account.open)

  /// Rings when its retirement has taken too long.
  let retirementAlarm = Alarm()
  /// Relaxed: it decides who destroys the VM, and hands nothing over.
  private let destruction = Atomic(false)

  /// A kick may be acknowledged before its VM is taken apart, and counted afterwards by the client that waited for it.
  private enum Account {
    /// On the vCPUs.
    case open
    /// Here: the vCPUs' own counts are being summed up.
    case closing(VCPUCounts)
    /// With the pool, for good.
    case closed
  }

  init(
    id: String, pool: String?, machine: any ManagedMachine, measurements: PoolMeasurements
  ) {
    self.id = id
    self.pool = pool
    self.machine = machine
    self.measurements = measurements
    createdAt = Date()
  }

  /// The lease it is under, and its fence.
  public var lease: (id: String, fence: UInt64)? { holder.withLock { $0 }.map { ($0.lease, $0.fence) } }

  /// Returns true once: to the caller that has to destroy it.
  func beginDestruction() -> Bool { !destruction.exchange(true, ordering: .relaxed) }

  var isBeingDestroyed: Bool { destruction.load(ordering: .relaxed) }

  /// Destroys the machine; once. Then `addCountsToPool` is due.
  func destroy() {
    account.withLock { $0 = .closing(VCPUCounts()) }
    machine.destroy()
  }

  /// Adds its counts to its pool's.
  func addCountsToPool() {
    account.withLock { account in
      var counts = machine.counts
      if case .closing(let late) = account { counts += late }
      measurements.retire(counts)
      account = .closed
    }
  }

  /// Counts how it has stopped, where `state` is that.
  func count(_ state: MachineState) {
    if case .stopped(let stop) = state { measurements.stops.count(stop) }
  }

  func setLease(_ lease: (String, UInt64)?) { holder.withLock { $0 = lease } }

  /// Counts kicks that were acknowledged: once each.
  public func record(_ outcomes: [KickOutcome], of kicks: PendingKicks) {
    account.withLock { account in
      switch account {
      case .open: kicks.count(outcomes)
      case .closing(var counts):
        for outcome in outcomes { counts.add(outcome) }
        account = .closing(counts)
      case .closed:
        var counts = VCPUCounts()
        for outcome in outcomes { counts.add(outcome) }
        measurements.retire(counts)
      }
    }
    for outcome in outcomes { measurements.record(outcome) }
  }
}
