import Access
import GuestImages
import LinuxSupport
import MachineRuntime
import Synchronization

// VMs: made by hand, found, watched and deleted.

extension Fleet {
  /// Makes a VM by hand, for a tenant, and writes `arguments` into its guest's memory; `start`s it too, waiting until `deadlineNS`
  /// (CLOCK_MONOTONIC).
  public func create(
    _ specification: VMSpecification, for tenant: Tenant = .standard, arguments: GuestArguments = GuestArguments(),
    start: Bool, untilNS deadlineNS: UInt64
  ) throws(FleetError) -> VM {
    let footprint = specification.footprint
    let refusal = update { tables, _ -> FleetError? in
      if tables.ledger.isClosed { return .draining }
      return tables.ledger.reserve(footprint, for: tenant).map { FleetError($0) }
    }
    if let refusal { throw refusal }
    let vm: VM
    do throws(MachineCreationError) {
      vm = try make(specification, owner: tenant, pool: nil, measurements: standalone)
    } catch {
      update { tables, now in tables.ledger.unreserve(footprint, of: tenant, now: now) }
      throw .creation(error)
    }
    do throws(MachineControlError) {
      try vm.machine.setArguments(arguments)
    } catch {
      vm.machine.whole.destroy()
      update { tables, now in tables.ledger.unreserve(footprint, of: tenant, now: now) }
      throw .argumentsRefused(vm: vm.id, error)
    }
    update { tables, _ in
      tables.ledger.madeByHand(vm.id, footprint, for: tenant)
      insert(vm, pool: nil, &tables)
      observe(.vm(vm, state: vm.machine.state))
    }
    // A start that is not acknowledged in time is a start all the same; the VM's state says so.
    if start { try? vm.machine.start(untilNS: deadlineNS) }
    return vm
  }

  /// Makes a VM that a pool wants: a clone of `template`, if there is one.
  func make(_ creation: Ledger.Creation, of template: (any ManagedTemplate)?, _ measurements: PoolMeasurements) {
    do throws(MachineCreationError) {
      let vm = try make(
        creation.specification, of: template, owner: creation.tenant, pool: creation.name, measurements: measurements)
      update { tables, now in
        insert(vm, pool: creation.pool, &tables)
        observe(.vm(vm, state: vm.machine.state))
        tables.ledger.created(creation, vm.id, now: now)
      }
    } catch {
      update { tables, now in
        tables.ledger.failed(creation, "\(error)", now: now, jitter: Double.random(in: 0...1))
      }
    }
  }

  private func make(
    _ specification: VMSpecification, of template: (any ManagedTemplate)? = nil, owner: Tenant, pool: String?,
    measurements: PoolMeasurements
  ) throws(MachineCreationError) -> VM {
    let id = Self.newVMID()
    let occupant = Occupant(id)
    let changed: @Sendable (MachineState) -> Void = { [weak self] state in
      self?.stateChanged(of: occupant.vm, to: state)
    }
    let began = MonotonicClock.now()
    let machine =
      if let template {
        try template.clone(name: id, deadlineNS: specification.deadlineNS, changed: changed)
      } else {
        try factory.make(
          configuration(of: specification, name: id, deadlineNS: specification.deadlineNS), changed: changed)
      }
    measurements.createTime.record(ns: MonotonicClock.now() - began)
    return VM(id: id, owner: owner, pool: pool, machine: machine, measurements: measurements, occupant: occupant)
  }

  static func newVMID() -> String { "vm-" + hex(UInt64.random(in: 0...UInt64.max), digits: 16) }

  func configuration(of specification: VMSpecification, name: String, deadlineNS: UInt64?) -> MachineConfiguration {
    MachineConfiguration(
      image: specification.image, vcpus: specification.vcpus, memoryMiB: specification.memoryMiB,
      mechanism: mechanism, deadlineNS: deadlineNS, name: name)
  }

  func insert(_ vm: VM, pool: Ledger.PoolKey?, _ tables: inout Tables) {
    tables.vms.insert(
      vm, id: vm.id, number: tables.nextVMNumber, pool: pool, tenant: vm.tenant, state: vm.machine.state.name)
    tables.nextVMNumber += 1
  }

  private func stateChanged(of id: String, to state: MachineState) {
    // After a reset, by whose end the VM is in the tables. A client may have started it since.
    if state == .ready { return }
    let (leaving, watches) = update { tables, now -> (VM?, [UInt64: @Sendable (MachineState?) -> Bool]) in
      guard let vm = tables.vms[id] else {
        guard let vm = tables.leaving[id] else { return (nil, [:]) }
        if tables.ledger.vms[id]?.phase == .retiring { tables.leaving.setState(id, state.name) }
        vm.count(state)
        return (vm, [:])
      }
      tables.vms.setState(id, state.name)
      vm.count(state)
      // A client may have controlled it without asking for it: it cannot be leased any more.
      if case .leased = tables.ledger.vms[id]?.phase {} else { _ = tables.ledger.take(id, now: now) }
      observe(.vm(vm, state: state))
      return (nil, tables.watches[id] ?? [:])
    }
    if let leaving, case .stopped = state { dispose(of: leaving) }
    for (token, notify) in watches where !notify(state) { unwatch(VMWatch(vm: id, token: token)) }
  }

  /// The VM of that id, for looking at it. What `viewer` does not see is not there.
  public func vm(_ id: String, for viewer: Viewer = .everything) throws(FleetError) -> VM {
    guard let vm = read({ $0.vms[id] }), viewer.sees(vm) else { throw .noSuchVM(id) }
    return vm
  }

  /// The VM of that id, for a client that acts upon it and presents the fence of its lease, or none. `isTaken` where the
  /// act makes the VM unfit for being leased: it leaves its pool's stock then.
  public func vm(
    _ id: String, for viewer: Viewer = .everything, fence: UInt64?, isTaken: Bool
  ) throws(FleetError) -> VM {
    let result = update { tables, now -> Result<VM, FleetError> in
      guard let vm = tables.vms[id], viewer.sees(vm) else {
        let wasLeased = fence != nil && tables.past.contains(id, for: viewer)
        return .failure(wasLeased ? .staleFence(vm: id, fence: fence ?? 0) : .noSuchVM(id))
      }
      // No VM is leased twice, so what holds now holds for as long as the caller has the VM.
      if let fence, vm.lease?.fence != fence { return .failure(.staleFence(vm: id, fence: fence)) }
      if isTaken, !tables.ledger.take(id, now: now) { return .failure(.noSuchVM(id)) }
      return .success(vm)
    }
    return try result.get()
  }

  /// A page of the VMs that `viewer` sees and `isIncluded` accepts, oldest first, beginning after the one `token` names: of a
  /// pool, or of all (nil). `isIncluded` is called with no lock held.
  public func vms(
    of pool: String? = nil, for viewer: Viewer = .everything, after token: UInt64?, limit: Int,
    where isIncluded: (VM) -> Bool = { _ in true }
  ) -> (vms: [VM], next: UInt64?) {
    let found = page(after: token, limit: limit, where: { viewer.sees($0) && isIncluded($0) }) { tables, last, size in
      guard let pool else { return tables.vms.page(ofTenant: viewer.tenant, after: last, limit: size) }
      return tables.ledger.keys[pool].map { tables.vms.page(of: $0, after: last, limit: size) } ?? []
    }
    return (found.items, found.next)
  }

  /// A page of the items that `isIncluded` accepts of a list that `piece` reads under the lock, beginning after `token`.
  func page<Item>(
    after token: UInt64?, limit: Int, where isIncluded: (Item) -> Bool,
    _ piece: (borrowing Tables, _ last: UInt64?, _ size: Int) -> [(number: UInt64, value: Item)]
  ) -> (items: [Item], next: UInt64?) {
    var found: [(number: UInt64, value: Item)] = []
    var last = token
    // In pieces, so that the lock is never held for long. One more than the page, to know whether another follows.
    while found.count <= limit {
      let size = min(max(limit, 64), 1024)
      let piece = read { tables in piece(tables, last, size) }
      found += piece.lazy.filter { isIncluded($0.value) }
      last = piece.last?.number
      if piece.count < size { break }
    }
    let page = found.prefix(limit)
    return (page.map(\.value), found.count > limit ? page.last?.number : nil)
  }

  /// Deletes a VM, and ends the lease it is under. `whenOver` is called once, on any thread: with nil when its threads are
  /// joined, its descriptors closed and its memory freed, or with `stuck` when that was not done in time. The VM cannot be
  /// found any more when this returns, and occupies no thread while it stops.
  public func delete(
    _ id: String, for viewer: Viewer = .everything, fence: UInt64?, whenOver: @escaping @Sendable (FleetError?) -> Void
  ) throws(FleetError) {
    _ = try vm(id, for: viewer, fence: fence, isTaken: false)
    let found = update { tables, now -> VM? in
      // It may have become another's meanwhile.
      guard tables.vms[id].map(viewer.sees) == true, tables.ledger.delete(id, now: now) else { return nil }
      tables.ends[id, default: []].append { isDone in whenOver(isDone ? nil : .stuck(vm: id)) }
      return remove(id, &tables)
    }
    guard let found else { throw .noSuchVM(id) }
    takeApart(found)
  }

  /// Calls `notify` at each change of a VM's state, until it returns false or `unwatch` is called. Calls it with nil when the
  /// VM is deleted; soon, if it is already. On the thread that made the change, a vCPU's own as a rule: it must not wait.
  public func watch(_ id: String, _ notify: @escaping @Sendable (MachineState?) -> Bool) -> VMWatch {
    let token = update { tables, _ in
      let token = tables.token()
      if tables.vms[id] != nil {
        tables.watches[id, default: [:]][token] = notify
      } else {
        tables.outbox.append { _ = notify(nil) }
      }
      return token
    }
    return VMWatch(vm: id, token: token)
  }

  /// Ends a watch. A call that is under way may still come.
  public func unwatch(_ watch: VMWatch) {
    update { tables, _ in
      tables.watches[watch.vm]?[watch.token] = nil
      if tables.watches[watch.vm]?.isEmpty == true { tables.watches[watch.vm] = nil }
    }
  }
}

/// A client that watches a VM.
public struct VMWatch: Sendable {
  let vm: String
  let token: UInt64
}

/// The lowest `digits` hex digits of a number.
func hex(_ number: UInt64, digits: Int) -> String {
  // Safe: so many bytes are asked for, and all of them written.
  unsafe String(unsafeUninitializedCapacity: digits) { buffer in
    for index in 0..<digits {
      let digit = UInt8(truncatingIfNeeded: number >> UInt64(4 * (digits - 1 - index))) & 15
      unsafe buffer[index] = digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
    }
    return digits
  }
}
