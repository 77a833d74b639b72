import Access
import Foundation
import MachineRuntime
import Synchronization
import VCPURuntime

/// A VM of the fleet.
///
/// A machine that is reset goes on as another VM: no id, no lease and no object of a VM leads from one tenant to the next.
public final class VM: Sendable {
  /// Random, and unique for the life of the server: `vm-` and sixteen hex digits.
  public let id: String
  /// Who made it: a client's tenant, or that of its pool.
  let owner: Tenant
  /// The pool it was made for; nil for one created by hand.
  public let pool: String?
  /// When it was created.
  public let createdAt: Date
  /// The machine itself.
  public let machine: TenantMachine
  /// What its pool has measured.
  let measurements: PoolMeasurements
  /// Whose the machine is now.
  let occupant: Occupant
  /// The lease it is under; a leaf lock, written under the fleet's.
  private let holder = Mutex<(lease: String, fence: UInt64, tenant: Tenant)?>(nil)
  /// Where kicks are counted; a leaf lock.
  private let account = Mutex(Account.open)

  /// Rings when its retirement has taken too long.
  let retirementAlarm = Alarm()
  /// Relaxed: it decides who destroys or resets the VM, and hands nothing over.
  private let disposal = Atomic(false)
  /// Relaxed: it orders nothing, and is written under the fleet's lock, under which the VM leaves the tables.
  private let stop = Atomic(false)

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
    id: String, owner: Tenant, pool: String?, machine: any ManagedMachine,
    since before: TenantMachine.Baseline = TenantMachine.Baseline(), measurements: PoolMeasurements, occupant: Occupant
  ) {
    self.id = id
    self.owner = owner
    self.pool = pool
    self.machine = TenantMachine(machine, since: before)
    self.measurements = measurements
    self.occupant = occupant
    createdAt = Date()
  }

  /// The lease it is under, and its fence.
  public var lease: (id: String, fence: UInt64)? { holder.withLock { $0 }.map { ($0.lease, $0.fence) } }

  /// Whose it is: its lease's tenant's, and without a lease its owner's.
  public var tenant: Tenant { holder.withLock { $0 }?.tenant ?? owner }

  /// Returns true once: to the caller that has to destroy or reset it.
  func beginDisposal() -> Bool { !disposal.exchange(true, ordering: .relaxed) }

  var isBeingDisposedOf: Bool { disposal.load(ordering: .relaxed) }

  /// Destroys the machine; once. Then `addCountsToPool` is due.
  func destroy() {
    closeAccount()
    machine.whole.destroy()
  }

  /// The VM that the machine, which is closed to this VM's clients, will be once it is reset. Then `addCountsToPool` is due.
  func successor(id: String) -> VM {
    closeAccount()
    return VM(
      id: id, owner: owner, pool: pool, machine: machine.whole, since: machine.end(), measurements: measurements,
      occupant: occupant)
  }

  private func closeAccount() {
    account.withLock { account in
      if case .open = account { account = .closing(VCPUCounts()) }
    }
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
    guard case .stopped(let stop) = state else { return }
    measurements.stops.count(stop)
    self.stop.store(true, ordering: .relaxed)
  }

  /// Whether it was announced that it has stopped: the machine announces nothing more before it is reset.
  var hasStopped: Bool { stop.load(ordering: .relaxed) }

  func setLease(_ lease: (String, UInt64, Tenant)?) { holder.withLock { $0 = lease } }

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

/// Which VM a machine is now, for what the machine announces.
final class Occupant: Sendable {
  /// Its id; a leaf lock, written under the fleet's.
  private let current: Mutex<String>

  init(_ vm: String) { current = Mutex(vm) }

  var vm: String {
    get { current.withLock { $0 } }
    set { current.withLock { $0 = newValue } }
  }
}
