import Devices
import GuestImages
import GuestMemory
import KVM
import VCPURuntime

// Templates: a VM that stands still is frozen, and a clone that has stopped goes back to what it was cloned from.

extension Machine {
  /// Freezes the VM, which is ready or paused and stays as it is. Waits for its vCPUs until `deadlineNS` (CLOCK_MONOTONIC),
  /// then copies the memory that is not zero.
  ///
  /// A VM that others resume meanwhile is refused as `invalidState`.
  public func freeze(untilNS deadlineNS: UInt64) throws(MachineTemplateError) -> MachineTemplate {
    let hasIRQChip = hasIRQChip
    let standing = try core.standingStill(for: "freeze")
    do throws(KVMError) {
      // Here, since it makes a VM: a vCPU's thread may not.
      try system.planCheckpoints(hasIRQChip: hasIRQChip)
    } catch { throw .kvm(error) }
    let vcpus = try results(deadlineNS, "freeze") { (vcpu) throws(KickError) in
      try vcpu.requestState(hasIRQChip: hasIRQChip)
    }
    let vmState = try withVM { (vm) throws(KVMError) in
      try vm.checkpoint(hasIRQChip: hasIRQChip, hasTimer: platform == .pc)
    }
    let template: MachineTemplate
    do throws(MappingError) {
      template = MachineTemplate(
        configuration: configuration, platform: platform, arguments: arguments, memory: try core.guest.frozen(),
        overlay: try core.devices.overlay?.frozen(), vm: vmState, vcpus: vcpus, devices: core.devices.save(),
        console: console.save(), hasStarted: standing.state != .ready, system: system)
    } catch { throw .memory(error) }
    // Nothing ran while all that was read.
    guard try core.standingStill(for: "freeze") == standing else {
      throw .control(.invalidState(operation: "freeze", state))
    }
    return template
  }

  /// `stopped` → `ready`: puts a clone back to what it was cloned from, for another run. Its owner calls it, one at a time.
  /// After an error the VM must be destroyed. All is done on the calling thread, and waits for no vCPU.
  ///
  /// - Returns: how many pages of memory it put back.
  public func reset() throws(MachineTemplateError) -> Int {
    guard let template else { throw .noTemplate }
    guard case .stopped = state else { throw .control(.invalidState(operation: "reset", state)) }
    do throws(DeviceStateError) {
      try core.devices.restore(template.devices)
      try console.restore(template.console)
    } catch { throw .device(error) }
    core.devices.overlay?.discard()
    try withVM { (vm) throws(KVMError) in try vm.restore(template.vm) }
    for (vcpu, saved) in zip(core.vcpus, template.vcpus) { try vcpu.restore(saved) }
    // After the registers: some of them have KVM write to the guest's memory.
    let guest = core.guest
    let pages = try withVM { (vm) throws(KVMError) in try vm.revert(guest) }
    do throws(MachineControlError) {
      // This thread does not wait for the answers: the vCPUs serve this request before all later ones.
      _ = try requestReset()
    } catch { throw .control(error) }
    return pages
  }

  /// What of a clone that is ready or stopped differs from its template, in words: empty where nothing does. Reads all of its
  /// memory. Waits for its vCPUs until `deadlineNS` (CLOCK_MONOTONIC).
  public func differences(untilNS deadlineNS: UInt64) throws(MachineTemplateError) -> [String] {
    guard let template else { throw .noTemplate }
    let hasIRQChip = hasIRQChip
    let vcpus = try results(deadlineNS, "compare") { (vcpu) throws(KickError) in
      try vcpu.requestState(hasIRQChip: hasIRQChip)
    }
    var differences: [String] = []
    for (index, (own, saved)) in zip(vcpus, template.vcpus).enumerated() {
      differences += own.kvm.differences(from: saved.kvm).map { "vCPU \(index): \($0)" }
      if own.loop != saved.loop { differences.append("vCPU \(index): the state of its thread") }
    }
    differences += try withVM { (vm) throws(KVMError) in
      try vm.checkpoint(hasIRQChip: hasIRQChip, hasTimer: platform == .pc).differences(from: template.vm)
    }
    if let page = core.guest.firstDifference() {
      differences.append("memory at 0x\(String(page * 4096, radix: 16))")
    }
    let devices = core.devices.save()
    for (name, state) in template.devices.sorted(by: { $0.key < $1.key }) where !state.equals(devices[name]) {
      differences.append("device \(name)")
    }
    if console.save() != template.console { differences.append("console") }
    return differences
  }

  /// Has each vCPU's own thread do something, all at once, and waits for all results.
  private func results<Value>(
    _ deadlineNS: UInt64, _ operation: String,
    _ request: (VCPU) throws(KickError) -> ErrandResult<Value>
  ) throws(MachineTemplateError) -> [Value] {
    let vcpus = core.vcpus
    guard !vcpus.isEmpty else { throw .control(.deleted) }
    var requested: [ErrandResult<Value>] = []
    do throws(KickError) {
      for vcpu in vcpus { requested.append(try request(vcpu)) }
      for result in requested { _ = try result.vcpu.wait(for: result.ticket, untilNS: deadlineNS) }
    } catch {
      switch error {
      case .ended: throw .control(.deleted)
      case .timedOut(_, let waited): throw .control(.timedOut(waitedNS: waited))
      case .signalFailed: throw .control(.failed("\(error)"))
      }
    }
    var values: [Value] = []
    for result in requested {
      do throws(KVMError) {
        if let value = try result.get() { values.append(value) }
      } catch { throw .kvm(error) }
    }
    // A vCPU that was resumed does no errand.
    guard values.count == vcpus.count else { throw .control(.invalidState(operation: operation, state)) }
    return values
  }

  private func withVM<Value>(
    _ body: (borrowing VMDescriptor) throws(KVMError) -> Value
  ) throws(MachineTemplateError) -> Value {
    do throws(KVMError) {
      let value = try vm.withLock { vm throws(KVMError) -> Value? in
        switch vm {
        case .some(let vm): try body(vm)
        case .none: nil
        }
      }
      if let value { return value }
    } catch { throw .kvm(error) }
    throw .control(.deleted)
  }
}

extension VCPU {
  fileprivate func requestState(hasIRQChip: Bool) throws(KickError) -> ErrandResult<MachineTemplate.SavedVCPU> {
    try request(resultOf: { (descriptor, loop) throws(KVMError) in
      MachineTemplate.SavedVCPU(kvm: try descriptor.checkpoint(hasIRQChip: hasIRQChip), loop: loop)
    })
  }

  /// Puts the state of a vCPU that is parked for good back to `saved`.
  fileprivate func restore(_ saved: MachineTemplate.SavedVCPU) throws(MachineTemplateError) {
    let isDone: Bool
    do throws(KVMError) {
      isDone = try replaceRegisters { (descriptor) throws(KVMError) in try descriptor.restore(saved.kvm) }
    } catch { throw .kvm(error) }
    guard isDone else { throw .control(.deleted) }
  }
}

extension VMDescriptor {
  /// Puts the memory of this VM, a clone, back to its template's, and begins a new log of what its guest writes. Returns how
  /// many pages that were.
  borrowing func revert(_ guest: GuestRAM) throws(KVMError) -> Int {
    var log = [UInt64](repeating: 0, count: guest.pageCount / 64 + 1)
    for (slot, range) in guest.ranges.enumerated() {
      try takeDirtyLog(slot: UInt32(slot), firstPage: range.firstPage, into: &log)
    }
    return guest.revert(log)
  }
}

extension DeviceState {
  /// Whether `other` is a state of the same kind with the same contents.
  fileprivate func equals(_ other: (any DeviceState)?) -> Bool { other as? Self == self }
}
