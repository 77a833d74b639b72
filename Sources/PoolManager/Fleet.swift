import Dispatch
import Foundation
import GuestImages
import LinuxSupport
import MachineRuntime
import Synchronization
import VCPURuntime

/// All VMs of the server and the pools that keep some of them ready.
///
/// Methods may be called from any thread. Those that make, delete or stop VMs take milliseconds.
public final class Fleet: Sendable {
  /// What it will not exceed.
  public let limits: FleetLimits
  /// How vCPUs are kicked.
  public let mechanism: KickMechanism
  private let factory: any MachineFactory
  /// Refills pools, one VM at a time, so that a pool being filled leaves processor time to everybody else.
  private let refill = DispatchQueue(label: "vmpool.refill")
  private let byHand = PoolMeasurements()
  /// Guards the tables below. Nothing is waited for under it, and no VM is made, controlled or deleted under it; the
  /// locks of a machine are taken under it for a look at its state. vCPU threads take it when their VM stops.
  private let guarded = Mutex(Tables())

  private struct Tables {
    var vms: [String: VM] = [:]
    var pools: [String: Pool] = [:]
    /// VMs being made or taken apart: they hold resources, but nobody finds them.
    var inTransit = 0
    /// VMs being taken apart, whose counts are not folded into their pool yet.
    var leaving: [VM] = []
    var nextSequence: UInt64 = 1
    var nextRevision: UInt64 = 1
    var isDraining = false
  }

  private struct Pool {
    var specification: PoolSpecification
    var revision: UInt64
    var plan = PoolPlan()
    /// The VMs that `plan` counts as ready, oldest first.
    var ready: [VM] = []
    var lastError: String?
    let measurements = PoolMeasurements()
  }

  /// An empty fleet whose VMs `factory` makes.
  public init(factory: any MachineFactory, mechanism: KickMechanism, limits: FleetLimits = FleetLimits()) {
    self.factory = factory
    self.mechanism = mechanism
    self.limits = limits
  }

  // MARK: VMs

  /// Makes a VM by hand; `start`s it too, waiting until `deadlineNS` (CLOCK_MONOTONIC).
  public func create(
    _ specification: VMSpecification, start: Bool, untilNS deadlineNS: UInt64
  ) throws(FleetError) -> VM {
    try reserve()
    let vm: VM
    do throws(MachineCreationError) {
      vm = try make(specification, pool: nil, revision: 0, measurements: byHand)
    } catch {
      guarded.withLock { $0.inTransit -= 1 }
      throw .creation(error)
    }
    guarded.withLock { tables in
      tables.inTransit -= 1
      tables.vms[vm.id] = vm
    }
    // A start that is not acknowledged in time has been asked for all the same: the VM's state tells.
    if start { try? vm.machine.start(untilNS: deadlineNS) }
    return vm
  }

  private func reserve() throws(FleetError) {
    let refusal = guarded.withLock { tables -> FleetError? in
      if tables.isDraining { return .draining }
      guard tables.vms.count + tables.inTransit < limits.vms else {
        return .limitReached(what: "VMs", limit: limits.vms, option: "--max-vms")
      }
      tables.inTransit += 1
      return nil
    }
    if let refusal { throw refusal }
  }

  private func make(
    _ specification: VMSpecification, pool: String?, revision: UInt64, measurements: PoolMeasurements
  ) throws(MachineCreationError) -> VM {
    let (id, sequence) = newIdentity()
    let configuration = MachineConfiguration(
      image: specification.image, vcpus: specification.vcpus, memoryMiB: specification.memoryMiB,
      mechanism: mechanism, deadlineNS: specification.deadlineNS)
    let began = MonotonicClock.now()
    let machine = try factory.make(configuration) { [weak self] _ in self?.stateChanged(of: id) }
    measurements.createTime.record(ns: MonotonicClock.now() - began)
    return VM(
      id: id, pool: pool, sequence: sequence, revision: revision, machine: machine, measurements: measurements)
  }

  private func newIdentity() -> (id: String, sequence: UInt64) {
    guarded.withLock { tables in
      defer { tables.nextSequence += 1 }
      let digits = String(UInt64.random(in: 0..<(1 << 48)), radix: 16)
      return ("vm-" + String(repeating: "0", count: 12 - digits.count) + digits, tables.nextSequence)
    }
  }

  /// The VM of that id.
  public func vm(_ id: String) throws(FleetError) -> VM {
    guard let vm = guarded.withLock({ $0.vms[id] }) else { throw .noSuchVM(id) }
    return vm
  }

  /// A page of the VMs that `isIncluded` accepts, oldest first, beginning after the one `token` names.
  public func vms(
    after token: UInt64?, limit: Int, where isIncluded: (VM) -> Bool = { _ in true }
  ) -> (vms: [VM], next: UInt64?) {
    let all = guarded.withLock { Array($0.vms.values) }
    let matching = all.filter { $0.sequence > token ?? 0 && isIncluded($0) }.sorted { $0.sequence < $1.sequence }
    let page = Array(matching.prefix(limit))
    return (page, matching.count > limit ? page.last?.sequence : nil)
  }

  /// Deletes a VM: returns when its threads are joined, its descriptors closed and its memory freed.
  public func delete(_ id: String) throws(FleetError) {
    let found = guarded.withLock { tables -> VM? in
      guard let vm = tables.vms[id] else { return nil }
      let actions = Self.remove(vm, from: &tables)
      perform(actions, for: vm.pool, &tables)
      return vm
    }
    guard let found else { throw .noSuchVM(id) }
    takeApart(found)
  }

  /// Takes a VM out of the tables, so that nobody finds it and nobody else deletes it.
  private static func remove(_ vm: VM, from tables: inout Tables) -> [PoolPlan.Action] {
    tables.vms[vm.id] = nil
    tables.inTransit += 1
    tables.leaving.append(vm)
    return noLongerReady(vm, &tables)
  }

  private static func noLongerReady(_ vm: VM, _ tables: inout Tables) -> [PoolPlan.Action] {
    guard let name = vm.pool, let place = tables.pools[name]?.ready.firstIndex(where: { $0 === vm }) else { return [] }
    tables.pools[name]?.ready.remove(at: place)
    return tables.pools[name]?.plan.on(.lost) ?? []
  }

  private func takeApart(_ vm: VM) {
    vm.machine.destroy()
    let counts = vm.machine.counts
    guarded.withLock { tables in
      // In one step, so that no scrape sees the counts twice or not at all.
      vm.measurements.retire(counts)
      tables.leaving.removeAll { $0 === vm }
      tables.inTransit -= 1
    }
  }

  private func stateChanged(of id: String) {
    guarded.withLock { tables in
      guard let vm = tables.vms[id], vm.machine.state != .ready else { return }
      perform(Self.noLongerReady(vm, &tables), for: vm.pool, &tables)
    }
  }

  // MARK: Pools

  /// Declares a pool, or declares it anew. Returns how it stands, and whether it is new; the VMs are made later.
  public func declare(_ name: String, _ specification: PoolSpecification) throws(FleetError) -> (
    PoolStatus, isNew: Bool
  ) {
    let result = guarded.withLock { tables -> Result<(PoolStatus, isNew: Bool), FleetError> in
      if tables.isDraining { return .failure(.draining) }
      guard var pool = tables.pools[name] else {
        guard tables.pools.count < limits.pools else {
          return .failure(.limitReached(what: "pools", limit: limits.pools, option: nil))
        }
        var pool = Pool(specification: specification, revision: tables.nextRevision)
        tables.nextRevision += 1
        let actions = pool.plan.on(.declared(ready: specification.ready))
        tables.pools[name] = pool
        perform(actions, for: name, &tables)
        return .success((Self.status(name, pool, tables), true))
      }
      let actions: [PoolPlan.Action]
      if pool.specification.vm.isSame(as: specification.vm) {
        actions = pool.plan.on(.declared(ready: specification.ready))
      } else {
        pool.revision = tables.nextRevision
        tables.nextRevision += 1
        actions = pool.plan.on(.replaced(ready: specification.ready))
      }
      pool.specification = specification
      tables.pools[name] = pool
      perform(actions, for: name, &tables)
      return .success((Self.status(name, pool, tables), false))
    }
    return try result.get()
  }

  /// How a pool stands.
  public func pool(_ name: String) throws(FleetError) -> PoolStatus {
    guard let status = guarded.withLock({ tables in tables.pools[name].map { Self.status(name, $0, tables) } }) else {
      throw .noSuchPool(name)
    }
    return status
  }

  /// All pools, by name.
  public var pools: [PoolStatus] {
    guarded.withLock { tables in
      tables.pools.map { Self.status($0.key, $0.value, tables) }.sorted { $0.name < $1.name }
    }
  }

  /// Deletes a pool with all its VMs, started ones too; returns when they are gone.
  public func deletePool(_ name: String) throws(FleetError) {
    let doomed = guarded.withLock { tables -> [VM]? in
      guard tables.pools.removeValue(forKey: name) != nil else { return nil }
      let doomed = tables.vms.values.filter { $0.pool == name }
      for vm in doomed { _ = Self.remove(vm, from: &tables) }
      return doomed
    }
    guard let doomed else { throw .noSuchPool(name) }
    for vm in doomed { takeApart(vm) }
  }

  private static func status(_ name: String, _ pool: Pool, _ tables: Tables) -> PoolStatus {
    PoolStatus(
      name: name, specification: pool.specification, vms: countByState(tables.vms.values.filter { $0.pool == name }),
      creating: pool.plan.creating, lastError: pool.lastError)
  }

  private static func countByState(_ vms: some Sequence<VM>) -> [String: Int] {
    vms.reduce(into: [:]) { $0[$1.machine.state.name, default: 0] += 1 }
  }

  // MARK: Refilling

  /// Sets about what a plan wants done. Under the lock, so that plans and queues agree; nothing is done here.
  private func perform(_ actions: [PoolPlan.Action], for name: String?, _ tables: inout Tables) {
    guard let name, let pool = tables.pools[name] else { return }
    let (revision, measurements) = (pool.revision, pool.measurements)
    for action in actions {
      switch action {
      case .create(let count):
        for _ in 0..<count { refill.async { [weak self] in self?.refillOne(name, revision, measurements) } }
      case .destroy(let count):
        let doomed = Array(tables.pools[name]?.ready.prefix(count) ?? [])
        tables.pools[name]?.ready.removeFirst(doomed.count)
        for vm in doomed { _ = Self.remove(vm, from: &tables) }
        refill.async { [weak self] in for vm in doomed { self?.takeApart(vm) } }
      case .retryAfter(let milliseconds):
        refill.asyncAfter(deadline: .now() + .milliseconds(milliseconds)) { [weak self] in
          self?.planEvent(.retry, name, measurements)
        }
      }
    }
  }

  /// Tells the plan of the pool that measures with `measurements`: one that was deleted hears no more, and one declared
  /// under its name since has nothing to do with it.
  private func planEvent(
    _ event: PoolPlan.Event, _ name: String, _ measurements: PoolMeasurements, error: FleetError? = nil
  ) {
    guarded.withLock { tables in
      guard tables.pools[name]?.measurements === measurements else { return }
      if let error { tables.pools[name]?.lastError = "\(error)" }
      perform(tables.pools[name]?.plan.on(event) ?? [], for: name, &tables)
    }
  }

  private func refillOne(_ name: String, _ revision: UInt64, _ measurements: PoolMeasurements) {
    guard let pool = guarded.withLock({ $0.pools[name] }), pool.measurements === measurements else { return }
    guard pool.revision == revision else { return planEvent(.outdated, name, measurements) }
    do throws(FleetError) {
      try reserve()
      let vm: VM
      do throws(MachineCreationError) {
        vm = try make(pool.specification.vm, pool: name, revision: revision, measurements: pool.measurements)
      } catch {
        guarded.withLock { $0.inTransit -= 1 }
        throw .creation(error)
      }
      add(vm, to: name)
    } catch {
      planEvent(.failed, name, measurements, error: error)
    }
  }

  private func add(_ vm: VM, to name: String) {
    let isWanted = guarded.withLock { tables -> Bool in
      guard let pool = tables.pools[name], pool.measurements === vm.measurements else {
        tables.leaving.append(vm)
        return false
      }
      let isCurrent = pool.revision == vm.revision && !tables.isDraining
      let actions = tables.pools[name]?.plan.on(isCurrent ? .created : .outdated) ?? []
      if isCurrent {
        tables.inTransit -= 1
        tables.vms[vm.id] = vm
        tables.pools[name]?.ready.append(vm)
        tables.pools[name]?.lastError = nil
      } else {
        tables.leaving.append(vm)
      }
      perform(actions, for: name, &tables)
      return isCurrent
    }
    if !isWanted { takeApart(vm) }
  }

  // MARK: The end

  /// Whether nothing new is made any more.
  public var isDraining: Bool { guarded.withLock { $0.isDraining } }

  /// Makes nothing new from now on.
  public func beginDraining() {
    guarded.withLock { tables in
      tables.isDraining = true
      for name in tables.pools.keys { _ = tables.pools[name]?.plan.on(.closed) }
    }
  }

  /// Stops every VM; those that have not acknowledged by `deadlineNS` (CLOCK_MONOTONIC) are returned.
  public func stopAll(untilNS deadlineNS: UInt64) -> [VM] {
    let all = guarded.withLock { Array($0.vms.values) }
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

  // MARK: Metrics

  /// Every pool's metrics, and those of the VMs created by hand.
  public var metrics: [PoolMetrics] {
    typealias Look = (pool: String?, target: Int?, creating: Int, vms: [VM], retired: VCPUCounts, PoolMeasurements)
    // The lists and the retired counts in one step; the sums, which only grow, at leisure.
    let looks = guarded.withLock { tables -> [Look] in
      let byPool = Dictionary(grouping: tables.vms.values) { $0.pool }
      let leaving = Dictionary(grouping: tables.leaving) { ObjectIdentifier($0.measurements) }
      func look(_ name: String?, _ target: Int?, _ creating: Int, _ measurements: PoolMeasurements) -> Look {
        let vms = (byPool[name] ?? []) + (leaving[ObjectIdentifier(measurements)] ?? [])
        return (name, target, creating, vms, measurements.retiredCounts, measurements)
      }
      return [look(nil, nil, 0, byHand)]
        + tables.pools.sorted { $0.key < $1.key }.map { name, pool in
          look(name, pool.specification.ready, pool.plan.creating, pool.measurements)
        }
    }
    return looks.map { look in
      var counts = look.retired
      for vm in look.vms { counts += vm.machine.counts }
      var states = Self.countByState(look.vms)
      states["creating"] = look.creating
      return PoolMetrics(
        pool: look.pool, target: look.target, vms: states, counts: counts, measurements: look.5)
    }
  }
}

extension VMSpecification {
  fileprivate func isSame(as other: VMSpecification) -> Bool {
    image.name == other.image.name && vcpus == other.vcpus && memoryMiB == other.memoryMiB
      && deadlineNS == other.deadlineNS
  }
}
