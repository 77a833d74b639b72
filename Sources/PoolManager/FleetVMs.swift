import Foundation
import GuestImages
import LinuxSupport
import MachineRuntime

// VMs: made by hand, found, watched and deleted.

extension Fleet {
  /// Makes a VM by hand and tells its guest `arguments`; `start`s it too, waiting until `deadlineNS` (CLOCK_MONOTONIC).
  public func create(
    _ specification: VMSpecification, _ arguments: GuestArguments = GuestArguments(), start: Bool,
    untilNS deadlineNS: UInt64
  ) throws(FleetError) -> VM {
    let footprint = specification.footprint
    let refusal = step { tables, _ -> FleetError? in
      if tables.ledger.isClosed { return .draining }
      return tables.ledger.reserve(footprint).map { .noRoom($0) }
    }
    if let refusal { throw refusal }
    let vm: VM
    do throws(MachineCreationError) {
      vm = try make(specification, pool: nil, measurements: byHand)
    } catch {
      step { tables, now in tables.ledger.unreserve(footprint, now: now) }
      throw .creation(error)
    }
    do throws(MachineControlError) {
      try vm.machine.tell(arguments)
    } catch {
      vm.machine.destroy()
      step { tables, now in tables.ledger.unreserve(footprint, now: now) }
      throw .untold(vm: vm.id, error)
    }
    step { tables, _ in
      tables.ledger.madeByHand(vm.id, footprint)
      tables.vms[vm.id] = vm
      observe(.vm(vm, state: vm.machine.state.name))
    }
    // A start that is not acknowledged in time has been asked for all the same: the VM's state tells.
    if start { try? vm.machine.start(untilNS: deadlineNS) }
    return vm
  }

  /// Makes a VM that a pool wants.
  func make(_ creation: Ledger.Creation, _ measurements: PoolMeasurements) {
    do throws(MachineCreationError) {
      let vm = try make(creation.specification, pool: creation.name, measurements: measurements)
      step { tables, now in
        tables.vms[vm.id] = vm
        observe(.vm(vm, state: vm.machine.state.name))
        tables.ledger.created(creation, vm.id, now: now)
      }
    } catch {
      step { tables, now in
        tables.ledger.failed(creation, "\(error)", now: now, jitter: Double.random(in: 0...1))
      }
    }
  }

  private func make(
    _ specification: VMSpecification, pool: String?, measurements: PoolMeasurements
  ) throws(MachineCreationError) -> VM {
    let sequence = step { tables, _ in
      defer { tables.nextSequence += 1 }
      return tables.nextSequence
    }
    let id = "vm-" + randomHex(digits: 12)
    let configuration = MachineConfiguration(
      image: specification.image, vcpus: specification.vcpus, memoryMiB: specification.memoryMiB,
      mechanism: mechanism, deadlineNS: specification.deadlineNS)
    let began = MonotonicClock.now()
    let machine = try factory.make(configuration) { [weak self] state in self?.stateChanged(of: id, to: state) }
    measurements.createTime.record(ns: MonotonicClock.now() - began)
    return VM(id: id, pool: pool, sequence: sequence, machine: machine, measurements: measurements)
  }

  private func stateChanged(of id: String, to state: MachineState) {
    let watches = step { tables, now -> [UInt64: @Sendable (MachineState?) -> Bool] in
      guard let vm = tables.vms[id] else { return [:] }
      // Whoever got it without asking: it cannot be leased any more.
      if case .leased = tables.ledger.slots[id]?.phase {} else { _ = tables.ledger.take(id, now: now) }
      observe(.vm(vm, state: state.name))
      return tables.watches[id] ?? [:]
    }
    for (token, tell) in watches where !tell(state) { unwatch(VMWatch(vm: id, token: token)) }
  }

  /// The VM of that id, for looking at it.
  public func vm(_ id: String) throws(FleetError) -> VM {
    guard let vm = look({ $0.vms[id] }) else { throw .noSuchVM(id) }
    return vm
  }

  /// The VM of that id, for whoever presents the fence of a lease, or none, to act upon it. `isTaken` where the act
  /// makes it unfit for being leased: it leaves its pool's stock then.
  public func vm(_ id: String, fence: UInt64?, isTaken: Bool) throws(FleetError) -> VM {
    let result = step { tables, now -> Result<VM, FleetError> in
      guard let vm = tables.vms[id] else {
        let wasLeased = fence != nil && tables.pastHoldings.contains(id)
        return .failure(wasLeased ? .staleFence(vm: id, fence: fence ?? 0) : .noSuchVM(id))
      }
      // A VM is handed over once in its life, so what holds now holds for as long as the caller has it.
      if let fence, vm.lease?.fence != fence { return .failure(.staleFence(vm: id, fence: fence)) }
      if isTaken, !tables.ledger.take(id, now: now) { return .failure(.noSuchVM(id)) }
      return .success(vm)
    }
    return try result.get()
  }

  /// A page of the VMs that `isIncluded` accepts, oldest first, beginning after the one `token` names.
  public func vms(
    after token: UInt64?, limit: Int, where isIncluded: (VM) -> Bool = { _ in true }
  ) -> (vms: [VM], next: UInt64?) {
    let all = look { Array($0.vms.values) }
    let matching = all.filter { $0.sequence > token ?? 0 && isIncluded($0) }.sorted { $0.sequence < $1.sequence }
    let page = Array(matching.prefix(limit))
    return (page, matching.count > limit ? page.last?.sequence : nil)
  }

  /// Deletes a VM, and ends the lease it is under: returns when its threads are joined, its descriptors closed and its
  /// memory freed.
  public func delete(_ id: String, fence: UInt64? = nil) throws(FleetError) {
    _ = try vm(id, fence: fence, isTaken: false)
    let found = step { tables, now -> VM? in
      guard tables.ledger.delete(id, now: now) else { return nil }
      return remove(id, &tables)
    }
    guard let found else { throw .noSuchVM(id) }
    guard takeApart(found) else { throw .stuck(vm: id) }
  }

  /// Calls `tell` at each change of a VM's state, and with nil when it is deleted (at once, if it is already), until it
  /// answers false or `unwatch` is called. On the thread that made the change, a vCPU's own as a rule: it must not wait.
  public func watch(_ id: String, _ tell: @escaping @Sendable (MachineState?) -> Bool) -> VMWatch {
    let (token, exists) = step { tables, _ in
      defer { tables.nextToken += 1 }
      guard tables.vms[id] != nil else { return (tables.nextToken, false) }
      tables.watches[id, default: [:]][tables.nextToken] = tell
      return (tables.nextToken, true)
    }
    if !exists { telling { _ = tell(nil) } }
    return VMWatch(vm: id, token: token)
  }

  /// Ends a watch. A call that is under way may still come.
  public func unwatch(_ watch: VMWatch) {
    step { tables, _ in
      tables.watches[watch.vm]?[watch.token] = nil
      if tables.watches[watch.vm]?.isEmpty == true { tables.watches[watch.vm] = nil }
    }
  }
}

/// Somebody watching a VM.
public struct VMWatch: Sendable {
  let vm: String
  let token: UInt64
}

func randomHex(digits: Int) -> String {
  hex(UInt64.random(in: 0...(UInt64.max >> UInt64(64 - 4 * digits))), digits: digits)
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
