import DequeModule
import Dispatch
import Foundation
import LinuxSupport
import MachineRuntime
import Synchronization
import VCPURuntime

/// All VMs of the server, the pools that keep some of them ready, and the leases under which those are handed out.
///
/// `Ledger` decides, this does. Methods may be called from any thread; those that make, delete or stop VMs take
/// milliseconds.
public final class Fleet: Sendable {
  /// What it will not exceed.
  public let limits: FleetLimits
  /// How vCPUs are kicked.
  public let mechanism: KickMechanism
  let factory: any MachineFactory
  let journal: (any LeaseJournal)?
  private let observer: (@Sendable (FleetEvent) -> Void)?
  let byHand = PoolMeasurements()
  // At most `limits.creations` jobs at a time, so that pools being filled leave processor time to everybody else.
  private let refill = DispatchQueue(label: "vmpool.refill", attributes: .concurrent)
  // One at a time: a thousand may come at once, and others want the processors, too.
  private let retirement = DispatchQueue(label: "vmpool.retirement")
  /// Hands VMs to those who have waited, and tells those who watch one that it is gone.
  private let messages = DispatchQueue(label: "vmpool.messages", attributes: .concurrent)
  private let alarm = Alarm()
  /// Guards the tables below. Nothing is waited for under it, and no VM is made, controlled or deleted under it; the
  /// locks of a machine and of a VM's lease are taken under it for a look, and the observer is called under it. vCPU
  /// threads take it when their VM stops.
  private let guarded: Mutex<Tables>

  struct Tables {
    var ledger: Ledger
    /// VMs that can be found.
    var vms: [String: VM] = [:]
    /// VMs being taken apart, whose counts are not folded into their pool yet.
    var leaving: [String: VM] = [:]
    var measurements: [Ledger.PoolKey: PoolMeasurements] = [:]
    var probes: [Ledger.PoolKey: KickProbe] = [:]
    var leases: [String: Lease] = [:]
    /// Leases that have ended, until that is recorded.
    var ending: [String: Ending] = [:]
    var waiting: [UInt64: Waiting] = [:]
    var watches: [String: [UInt64: @Sendable (MachineState?) -> Bool]] = [:]
    var gone: [Ledger.PoolKey: [@Sendable () -> Void]] = [:]
    /// VMs that were leased and are no more, the oldest first: what a late holder asks for.
    var pastHoldings: Deque<String> = []
    var nextSequence: UInt64 = 1
    var nextToken: UInt64 = 1
    var lastLeaseID: UInt64 = 0
    /// When the clock rings; nil when it is not set.
    var alarmNS: UInt64?
  }

  struct Ending {
    let lease: EndedLease
    /// It could not be recorded.
    var hasFailed = false
  }

  struct Waiting {
    let request: LeaseRequest
    let sinceNS: UInt64
    let measurements: PoolMeasurements
    let tell: @Sendable (Result<Lease, LeaseRefusal>) -> Void
  }

  static let pastHoldingLimit = 4096

  /// An empty fleet whose VMs `factory` makes. Leases are recorded in `journal`, if there is one, and fences begin at
  /// `firstFence`. `observer` is told what happens, in order and under the fleet's lock: it must not wait, and not call
  /// back.
  public init(
    factory: any MachineFactory, mechanism: KickMechanism, limits: FleetLimits = FleetLimits(),
    journal: (any LeaseJournal)? = nil, firstFence: UInt64 = 1, observer: (@Sendable (FleetEvent) -> Void)? = nil
  ) {
    self.factory = factory
    self.mechanism = mechanism
    self.limits = limits
    self.journal = journal
    self.observer = observer
    guarded = Mutex(Tables(ledger: Ledger(limits: limits, firstFence: firstFence)))
    alarm.arm { [weak self] in self?.ring() }
  }

  // MARK: Steps

  /// Looks at the tables.
  func look<Value>(_ body: (borrowing Tables) -> Value) -> Value {
    let value = guarded.withLock { UncheckedBox(value: body($0)) }
    return value.value
  }

  /// One change of the tables, and all that follows from it.
  func step<Value>(_ body: (inout Tables, _ now: UInt64) -> Value) -> Value {
    let (value, work) = change(body)
    for job in work { job() }
    return value
  }

  /// One change of the tables; what follows from it is for the caller to do, soon.
  func change<Value>(
    _ body: (inout Tables, _ now: UInt64) -> Value
  ) -> (value: Value, work: [@Sendable () -> Void]) {
    let changed = guarded.withLock { tables in
      let now = MonotonicClock.now()
      let value = body(&tables, now)
      return UncheckedBox(value: (value, settle(&tables, now)))
    }
    return changed.value
  }

  /// Sets about what the ledger wants done. Under the lock, so that it and the queues agree; nothing is done here.
  private func settle(_ tables: inout Tables, _ now: UInt64) -> [@Sendable () -> Void] {
    var work: [@Sendable () -> Void] = []
    takeOver(&tables, now, &work)
    while let creation = tables.ledger.nextCreation(now: now) {
      let measurements = tables.measurements[creation.pool] ?? byHand
      work.append { self.refill.async { [weak self] in self?.make(creation, measurements) } }
    }
    // Asking for creations may have had its own consequences.
    takeOver(&tables, now, &work)
    setAlarm(&tables, now)
    return work
  }

  private func takeOver(_ tables: inout Tables, _ now: UInt64, _ work: inout [@Sendable () -> Void]) {
    var ended: [String] = []
    for action in tables.ledger.takeActions() {
      if case .ended(let holding, _) = action { ended.append(holding.id) }
      work += perform(action, &tables, now)
    }
    // All at once: a thousand leases may end at the same time.
    if !ended.isEmpty { work.append { [self, ended] in messages.async { self.recordEnds(of: ended) } } }
  }

  private func perform(_ action: Ledger.Action, _ tables: inout Tables, _ now: UInt64) -> [@Sendable () -> Void] {
    switch action {
    case .grant(let id, let holding):
      guard let waiting = tables.waiting.removeValue(forKey: id),
        let lease = enter(holding, waiting.request, since: waiting.sinceNS, &tables, now)
      else { return [] }
      return [
        { [self] in messages.async { waiting.tell(self.handOver(lease, waiting.request)) } }
      ]
    case .refuse(let id, let refusal):
      guard let waiting = tables.waiting.removeValue(forKey: id) else { return [] }
      waiting.measurements.leases.count(refusal)
      return [{ [messages] in messages.async { waiting.tell(.failure(refusal)) } }]
    case .retire(let id):
      guard let vm = remove(id, &tables) else { return [] }
      return [{ [self] in retirement.async { self.retire(vm) } }]
    case .ended(let holding, let end):
      if let lease = tables.leases[holding.id] { forget(lease, end, by: .server, &tables) }
      return []
    case .gone(let key):
      tables.measurements[key] = nil
      tables.probes[key] = nil
      let told = tables.gone.removeValue(forKey: key) ?? []
      return told.map { tell in { [messages] in messages.async(execute: tell) } }
    case .note(let pool, let note):
      observe(.note(pool: pool, note))
      return []
    }
  }

  func observe(_ event: FleetEvent) { observer?(event) }

  func telling(_ work: @escaping @Sendable () -> Void) { messages.async(execute: work) }

  // MARK: Time

  private func setAlarm(_ tables: inout Tables, _ now: UInt64) {
    guard let next = tables.ledger.nextTick, next < tables.alarmNS ?? .max else { return }
    tables.alarmNS = next
    alarm.set(afterNS: next - min(next, now))
  }

  private func ring() {
    step { tables, now in
      tables.alarmNS = nil
      tables.ledger.tick(now: now)
    }
  }

  // MARK: Retirement

  /// Takes a VM out of the tables, so that nobody finds it and nobody else takes it apart.
  func remove(_ id: String, _ tables: inout Tables) -> VM? {
    guard let vm = tables.vms.removeValue(forKey: id) else { return tables.leaving[id] }
    tables.leaving[id] = vm
    observe(.vm(vm, state: nil))
    for (_, tell) in tables.watches.removeValue(forKey: id) ?? [:] { messages.async { _ = tell(nil) } }
    return vm
  }

  /// Takes a VM apart, without keeping those that come after it waiting.
  private func retire(_ vm: VM) {
    do throws(MachineControlError) {
      try vm.machine.stop(.killed, untilNS: MonotonicClock.now() + Self.patienceNS)
    } catch {
      if case .timedOut = error {
        return DispatchQueue(label: "vmpool.retirement.slow").async { [self] in _ = takeApart(vm) }
      }
    }
    bury(vm)
  }

  /// How long a VM may take to stop before others go first.
  private static let patienceNS: UInt64 = 20_000_000

  /// Takes a VM apart. False when that was not done in time: it is quarantined, and goes on being taken apart.
  func takeApart(_ vm: VM) -> Bool {
    do throws(MachineControlError) {
      try vm.machine.stop(.killed, untilNS: MonotonicClock.now() + limits.retirementNS)
    } catch {
      if case .timedOut = error {
        step { tables, _ in tables.ledger.quarantined(vm.id) }
        // A thread of its own, for however long it takes.
        DispatchQueue(label: "vmpool.quarantine").async { [self] in bury(vm) }
        return false
      }
      // Stopped already, or about to be: what is left of it is joined below.
    }
    bury(vm)
    return true
  }

  private func bury(_ vm: VM) {
    vm.destroy()
    step { tables, now in
      // In one step, so that no scrape sees the counts twice or not at all.
      vm.fold()
      tables.leaving[vm.id] = nil
      tables.ledger.retired(vm.id, now: now)
    }
  }

  // MARK: The end

  /// Whether nothing new is made any more.
  public var isDraining: Bool { look { $0.ledger.isClosed } }

  /// Makes nothing new and hands out nothing from now on; whoever waits for a lease is told.
  public func beginDraining() {
    step { tables, _ in tables.ledger.close() }
  }

  /// Stops every VM; those that have not acknowledged by `deadlineNS` (CLOCK_MONOTONIC) are returned.
  public func stopAll(untilNS deadlineNS: UInt64) -> [VM] {
    let all = look { Array($0.vms.values) }
    // All are signalled first, then all are waited for. This only asks; what becomes of it, the waiting tells.
    for vm in all { try? vm.machine.stop(.killed, untilNS: 0) }
    return all.filter { vm in
      do throws(MachineControlError) {
        try vm.machine.stop(.killed, untilNS: deadlineNS)
        return false
      } catch {
        return error != .deleted
      }
    }
  }
}

/// Carries what is Sendable in fact out of a lock whose signature cannot know.
private struct UncheckedBox<Value>: @unchecked Sendable { let value: Value }
