import Access
import DequeModule
import LinuxSupport
import MachineRuntime
import Synchronization
import VCPURuntime

/// All VMs of the server, the pools that keep some of them ready, and the leases under which those are handed out.
///
/// `Ledger` decides, `Fleet` acts. Methods may be called from any thread; those that make, delete or stop VMs take
/// milliseconds.
public final class Fleet: Sendable {
  /// The limits that it keeps.
  public let limits: FleetLimits
  /// How vCPUs are kicked.
  public let mechanism: KickMechanism
  let factory: any MachineFactory
  let journal: (any LeaseJournal)?
  private let observer: (@Sendable (FleetEvent) -> Void)?
  /// What is measured of VMs outside of pools.
  let standalone = PoolMeasurements()
  // Each has threads of its own, so that no work waits for another kind's. Their queues are bounded by what is in the
  // tables: VMs, leases and waiting clients.
  private let refill: WorkerPool
  private let retirement = WorkerPool(name: "retirement", role: .machines, threads: 1, queueLimit: .max)
  private let resets = WorkerPool(name: "resets", role: .machines, threads: 2, queueLimit: .max)
  /// Hands VMs to clients that have waited, records ends of leases, and calls what watches VMs and pools.
  private let messages = WorkerPool(name: "messages", role: .requests, threads: 2, queueLimit: .max)
  /// Kicks probed VMs, and waits for their answers.
  let probing = WorkerPool(name: "probes", role: .machines, threads: 1, queueLimit: 128)
  /// Begins templates, and freezes them: a boot that waits for its ready point occupies no thread.
  private let templates = WorkerPool(name: "templates", role: .machines, threads: 2, queueLimit: .max)
  private let clock = Alarm()
  /// Guards the tables below. Under it no thread waits, and none makes, controls or deletes a VM. A look takes the locks of a
  /// machine and of a VM's lease under it. The observer is called under it. vCPU threads take it when their VM changes state.
  private let guarded: Mutex<Tables>
  /// Relaxed: it orders nothing, and gives each lease a number of its own.
  let lastLeaseNumber = Atomic<UInt64>(0)

  struct Tables {
    var ledger: Ledger
    /// VMs that can be found.
    var vms = Inventory<VM>()
    /// VMs being taken apart, whose counts are not added to their pool's yet.
    var leaving = Inventory<VM>()
    var measurements: [Ledger.PoolKey: PoolMeasurements] = [:]
    var probes: [Ledger.PoolKey: KickProbe] = [:]
    /// What pools' VMs are cloned from, by the revision of the declaration.
    var templates: [UInt64: PoolTemplate] = [:]
    /// Those on their way there, until nothing is left of the VM that boots.
    var boots: [UInt64: TemplateBoot] = [:]
    /// Leases that are on record, and have not ended.
    var leases = Inventory<Lease>()
    /// Grants that are not on record yet, and of which no client knows.
    var pending: [String: PendingGrant] = [:]
    /// Leases that have ended, until that is recorded.
    var ending: [String: Ending] = [:]
    var waiting: [UInt64: Waiting] = [:]
    var watches: [String: [UInt64: @Sendable (MachineState?) -> Bool]] = [:]
    /// Closures of callers that wait until a VM is taken apart. Called with whether that was done in time.
    var ends: [String: [@Sendable (Bool) -> Void]] = [:]
    /// Messages to be delivered after this change of the tables.
    var outbox: [@Sendable () -> Void] = []
    var deletions: [Ledger.PoolKey: [UInt64: Deletion]] = [:]
    var past = PastVMs()
    var nextVMNumber: UInt64 = 1
    var nextToken: UInt64 = 1
    /// When the clock rings; nil when it is not set.
    var clockNS: UInt64?

    mutating func token() -> UInt64 {
      defer { nextToken += 1 }
      return nextToken
    }
  }

  struct PendingGrant {
    let lease: Lease
    let pool: Ledger.PoolKey
    let waitNS: UInt64
    /// What ended it before it was on record.
    var ended: (end: LeaseEnd, origin: Origin)?
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
    let notify: @Sendable (Result<Lease, LeaseRefusal>) -> Void
  }

  /// A client that waits for the end of a pool.
  struct Deletion {
    let timer: DeadlineTimer?
    let notify: @Sendable (PoolDeletion) -> Void
  }

  /// VMs that were leased and are no more: what a holder that comes late asks for. The latest are kept.
  struct PastVMs {
    private static let limit = 4096
    private var order: Deque<String> = []
    private var leases: [String: (tenant: Tenant, pool: String)] = [:]

    /// Whether a lease of the VM was there for `viewer`.
    func contains(_ id: String, for viewer: Viewer) -> Bool {
      leases[id].map { viewer.sees($0.tenant, pool: $0.pool) } ?? false
    }

    mutating func insert(_ lease: Lease) {
      guard leases.updateValue((lease.tenant, lease.pool), forKey: lease.vm.id) == nil else { return }
      order.append(lease.vm.id)
      if order.count > Self.limit, let oldest = order.popFirst() { leases[oldest] = nil }
    }
  }

  /// An empty fleet whose VMs `factory` makes. Leases are recorded in `journal`, if there is one, and fences begin at
  /// `firstFence`. `observer` is called with what happens, in order and under the fleet's lock: it must not wait, and not
  /// call back.
  public init(
    factory: any MachineFactory, mechanism: KickMechanism, limits: FleetLimits = FleetLimits(),
    journal: (any LeaseJournal)? = nil, firstFence: UInt64 = 1, observer: (@Sendable (FleetEvent) -> Void)? = nil
  ) {
    self.factory = factory
    self.mechanism = mechanism
    self.limits = limits
    self.journal = journal
    self.observer = observer
    refill = WorkerPool(name: "refill", role: .machines, threads: max(limits.creations, 1), queueLimit: .max)
    guarded = Mutex(Tables(ledger: Ledger(limits: limits, firstFence: firstFence)))
    // Starts the thread for deadlines while there is room for one: a process that cannot have it ends.
    clock.set(atNS: .max) {}
  }

  // MARK: The tables

  /// Reads the tables.
  func read<Value>(_ body: (borrowing Tables) -> Value) -> Value {
    let value = guarded.withLock { UncheckedBox(value: body($0)) }
    return value.value
  }

  /// Makes one change of the tables, and begins all that follows from it.
  func update<Value>(_ body: (inout Tables, _ now: UInt64) -> Value) -> Value {
    let (value, work) = updateDeferring(body)
    for job in work { job() }
    return value
  }

  /// Makes one change of the tables. The caller has to do `work`, which begins what follows from it, soon.
  func updateDeferring<Value>(
    _ body: (inout Tables, _ now: UInt64) -> Value
  ) -> (value: Value, work: [@Sendable () -> Void]) {
    let changed = guarded.withLock { tables in
      let now = MonotonicClock.now()
      let value = body(&tables, now)
      return UncheckedBox(value: (value, followUp(&tables, now)))
    }
    return changed.value
  }

  /// Collects what the ledger wants done. Under the lock, so that it and the tables agree; nothing is done here.
  private func followUp(_ tables: inout Tables, _ now: UInt64) -> [@Sendable () -> Void] {
    var work: [@Sendable () -> Void] = []
    performActions(&tables, now, &work)
    while !isRetirementBehind, let creation = tables.ledger.nextCreation(now: now) {
      work.append(begin(creation, &tables))
    }
    // Asking for creations may have had its own consequences.
    performActions(&tables, now, &work)
    setClock(&tables, now)
    work += tables.outbox.map { message in { [self] in deliver(message) } }
    tables.outbox = []
    return work
  }

  /// Whether so many VMs wait to be taken apart that none is made. The kernel takes longer for each VM the more there are. So
  /// VMs that are made faster than they can be taken apart would make both slower and slower. A look at each end of
  /// a retirement follows, by `update`.
  private var isRetirementBehind: Bool { retirement.load.queued >= Self.retirementBacklog }
  private static let retirementBacklog = 256

  private func begin(_ creation: Ledger.Creation, _ tables: inout Tables) -> @Sendable () -> Void {
    if let plan = creation.boot {
      let boot = TemplateBoot(creation, plan) { [weak self] boot in
        guard let self else { return boot.release() }
        submit(to: templates) { [self] in finish(boot) }
      }
      tables.boots[creation.revision] = boot
      return { self.submit(to: self.templates) { [weak self] in self?.begin(boot) } }
    }
    let measurements = tables.measurements[creation.pool] ?? standalone
    let template = tables.templates[creation.revision]?.template
    return { self.submit(to: self.refill) { [weak self] in self?.make(creation, of: template, measurements) } }
  }

  private func performActions(_ tables: inout Tables, _ now: UInt64, _ work: inout [@Sendable () -> Void]) {
    var ended: [String] = []
    for action in tables.ledger.takeActions() {
      if case .ended(let grant, _) = action { ended.append(grant.id) }
      work += perform(action, &tables, now)
    }
    // All at once: a thousand leases may end at the same time.
    if !ended.isEmpty { work.append { [self, ended] in deliver { self.recordEnds(of: ended) } } }
  }

  private func perform(_ action: Ledger.Action, _ tables: inout Tables, _ now: UInt64) -> [@Sendable () -> Void] {
    switch action {
    case .grant(let id, let grant):
      guard let waiting = tables.waiting.removeValue(forKey: id),
        let lease = enter(grant, waiting.request, since: waiting.sinceNS, &tables, now)
      else { return [] }
      return [{ [self] in deliver { waiting.notify(self.handOver(lease, waiting.request)) } }]
    case .refuse(let id, let refusal):
      guard let waiting = tables.waiting.removeValue(forKey: id) else { return [] }
      waiting.measurements.leases.count(refusal)
      return [{ [self] in deliver { waiting.notify(.failure(refusal)) } }]
    case .retire(let id):
      guard let vm = remove(id, &tables) else { return [] }
      return [{ [self] in takeApart(vm) }]
    case .reset(let id):
      guard let vm = remove(id, &tables) else { return [] }
      tables.leaving.setState(id, Self.resettingState)
      return [{ [self] in bringToAStand(vm, on: resets) }]
    case .dropTemplate(let revision):
      // The memory is unmapped with the last that refers to it, not under the lock.
      let template = tables.templates.removeValue(forKey: revision)
      let boot = tables.boots[revision]
      return [{ withExtendedLifetime(template) { boot?.settle(.givenUp) } }]
    case .ended(let grant, let end):
      forget(grant.id, end, by: .server, &tables)
      return []
    case .onlyQuarantinedLeft(let key):
      guard let pool = tables.ledger.pools[key] else { return [] }
      return finish(key, .goesOn(Self.status(pool, tables, now)), &tables)
    case .gone(let key):
      tables.measurements[key] = nil
      tables.probes[key] = nil
      return finish(key, .complete, &tables)
    case .note(let pool, let note):
      observe(.note(pool: pool, note))
      return []
    }
  }

  private func finish(
    _ key: Ledger.PoolKey, _ outcome: PoolDeletion, _ tables: inout Tables
  ) -> [@Sendable () -> Void] {
    (tables.deletions.removeValue(forKey: key) ?? [:]).values.map { deletion in
      { [self] in deliver { deletion.notify(outcome) } }
    }
  }

  func observe(_ event: FleetEvent) { observer?(event) }

  /// Has `work` done on a thread for messages.
  func deliver(_ work: @escaping @Sendable () -> Void) { submit(to: messages, work) }

  private func submit(to workers: WorkerPool, _ work: @escaping @Sendable () -> Void) {
    // Refused only where the system has no thread to give: then it is done here, late rather than never.
    do throws(WorkerPool.Refusal) { try workers.submit(work) } catch { work() }
  }

  // MARK: Time

  private func setClock(_ tables: inout Tables, _ now: UInt64) {
    guard let next = tables.ledger.nextTick, next < tables.clockNS ?? .max else { return }
    tables.clockNS = next
    clock.set(atNS: next) { [weak self] in self?.timeHasCome() }
  }

  private func timeHasCome() {
    update { tables, now in
      tables.clockNS = nil
      tables.ledger.tick(now: now)
    }
  }

  // MARK: Retirement

  /// Takes a VM out of the tables: it cannot be found any more, and is taken apart once.
  func remove(_ id: String, _ tables: inout Tables) -> VM? {
    guard let (vm, number, pool, state) = tables.vms.remove(id) else { return tables.leaving[id] }
    tables.leaving.insert(vm, id: id, number: number, pool: pool, tenant: vm.owner, state: state)
    observe(.vm(vm, state: nil))
    for (_, notify) in tables.watches.removeValue(forKey: id) ?? [:] { tables.outbox.append { _ = notify(nil) } }
    return vm
  }

  /// Begins to take a VM apart. Occupies no thread while its vCPUs stop: `stateChanged` says when they have, and a thread
  /// for retirements destroys it then. A VM that does not stop in time is quarantined, and destroyed when it does stop.
  func takeApart(_ vm: VM) { bringToAStand(vm, on: retirement) }

  private func bringToAStand(_ vm: VM, on workers: WorkerPool) {
    submit(to: workers) { [self] in
      stop(vm)
      // Only now: a thousand may have been before it.
      vm.retirementAlarm.set(atNS: MonotonicClock.now() + limits.retirementNS) { [weak self, weak vm] in
        if let vm { self?.quarantine(vm) }
      }
      // Refill may have waited for this.
      update { _, _ in }
    }
  }

  private func stop(_ vm: VM) {
    do throws(MachineControlError) {
      try vm.machine.whole.stop(.killed, untilNS: 0)
    } catch {
      switch error {
      case .timedOut, .failed:
        // A change of state follows, unless it came before the VM left the tables.
        guard case .stopped = vm.machine.state else { return }
      case .invalidState, .deleted, .noSuchVCPU, .arguments: break
      }
    }
    dispose(of: vm)
  }

  /// Has a VM reset or destroyed whose vCPUs have stopped: once, however often this is called.
  func dispose(of vm: VM) {
    let isReset = read { $0.ledger.vms[vm.id]?.phase == .resetting }
    // Else the announcement that it has stopped might come when the machine is another VM. It leads here again.
    if isReset, !vm.hasStopped { return }
    guard vm.beginDisposal() else { return }
    guard isReset else { return destroy(vm) }
    vm.machine.close { [self] in submit(to: resets) { [self] in reset(vm) } }
  }

  /// Has a VM destroyed whose vCPUs have stopped; once.
  func destroy(_ vm: VM) {
    submit(to: retirement) { [self] in
      vm.destroy()
      vm.retirementAlarm.cancel()
      let waiting = update { tables, now in
        // In one step, so that no scrape sees the counts twice or not at all.
        vm.addCountsToPool()
        _ = tables.leaving.remove(vm.id)
        tables.ledger.retired(vm.id, now: now)
        return tables.ends.removeValue(forKey: vm.id) ?? []
      }
      for notify in waiting { notify(true) }
    }
  }

  /// A VM has not stopped in time. It is asked again as often as that takes.
  private func quarantine(_ vm: VM) {
    guard !vm.isBeingDisposedOf else { return }
    update { tables, now in
      if tables.ledger.quarantined(vm.id, now: now) { tables.leaving.setState(vm.id, Self.quarantinedState) }
      for notify in tables.ends.removeValue(forKey: vm.id) ?? [] { tables.outbox.append { notify(false) } }
    }
    takeApart(vm)
  }

  /// The state that a quarantined VM is counted under.
  static let quarantinedState = "quarantined"
  /// That of one that is being put back to its template.
  static let resettingState = "resetting"

  // MARK: The end

  /// Whether the latest attempt to record something failed: no lease can be granted then.
  public var isRecordingFailing: Bool { journal?.isFailing == true }

  /// Whether nothing new is made any more.
  public var isDraining: Bool { read { $0.ledger.isClosed } }

  /// Makes nothing new and hands out nothing from now on; clients that wait for a lease are refused.
  public func beginDraining() {
    update { tables, _ in tables.ledger.close() }
  }

  /// Stops every VM; those that have not acknowledged by `deadlineNS` (CLOCK_MONOTONIC) are returned.
  public func stopAll(untilNS deadlineNS: UInt64) -> [VM] {
    let (all, boots) = read { ($0.vms.items, Array($0.boots.values)) }
    // All are signalled first, then all are waited for. This only asks; the waiting below says what became of it.
    for vm in all { try? vm.machine.whole.stop(.killed, untilNS: 0) }
    for boot in boots { boot.stop(untilNS: deadlineNS) }
    return all.filter { vm in
      do throws(MachineControlError) {
        try vm.machine.whole.stop(.killed, untilNS: deadlineNS)
        return false
      } catch {
        return error != .deleted
      }
    }
  }
}

/// Carries a value out of a lock whose signature cannot know that it is Sendable.
private struct UncheckedBox<Value>: @unchecked Sendable { let value: Value }
