import APIModel
import KVM
import LinuxSupport
import MachineRuntime
import PoolManager
import VCPURuntime

/// `/v1/vms/{vm}/vcpus` and below, and `/v1/vms/{vm}/kick`.
enum VCPURoutes {
  static let routes = [
    Route(
      method: .post, template: "/v1/vms/{vm}/kick", operationID: "kickVM", body: .json(isRequired: false),
      handler: kickAll),
    Route(method: .get, template: "/v1/vms/{vm}/vcpus", operationID: "listVCPUs", handler: list),
    Route(method: .get, template: "/v1/vms/{vm}/vcpus/{index}", operationID: "getVCPU", handler: get),
    Route(
      method: .post, template: "/v1/vms/{vm}/vcpus/{index}/kick", operationID: "kickVCPU",
      body: .json(isRequired: false), handler: kickOne),
    Route(
      method: .get, template: "/v1/vms/{vm}/vcpus/{index}/registers", operationID: "getRegisters", handler: registers),
  ]

  private static func list(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let vm = try api.vm(call)
    let items = vm.machine.vcpuSnapshots.map { VCPUDocument($0, vm: vm.id) }
    // A VM without vCPUs is one that is just being deleted.
    guard !items.isEmpty else { throw .noSuchVM(vm.id) }
    return .now(try .json(Page(items: items, nextPageToken: nil)))
  }

  private static func get(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let vm = try api.vm(call)
    let snapshot = try translating(vm) { () throws(MachineControlError) in
      try vm.machine.snapshot(vcpu: call.parameters.index)
    }
    return .now(try .json(VCPUDocument(snapshot, vm: vm.id)))
  }

  // MARK: Kicks

  private static func kickOne(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let index = call.parameters.index
    return try kick(api, call, index) { vm, outcomes in
      KickText(KickDocument(outcomes[0], vm: vm.id, vcpu: index, mechanism: vm.machine.configuration.mechanism))
    }
  }

  private static func kickAll(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    try kick(api, call, nil) { vm, outcomes in
      let mechanism = vm.machine.configuration.mechanism
      let kicks = outcomes.enumerated().map { KickDocument($1, vm: vm.id, vcpu: $0, mechanism: mechanism) }
      return KickText(KickAllDocument(vm: vm.id, kicks: kicks))
    }
  }

  private static func kick(
    _ api: APIHandler, _ call: Call, _ index: Int?,
    _ format: @escaping @Sendable (VM, [KickOutcome]) -> KickText
  ) throws(APIProblem) -> Answer {
    let request = try call.documentIfAny(KickRequestDocument.self)
    let timeoutMS = try checked(request?.timeoutMS, default: 1000, in: 1...60_000, at: "/timeout_ms")
    let vm = try api.vm(call)
    let kicks = try translating(vm) { () throws(MachineControlError) in
      try vm.machine.requestKicks(vcpu: index)
    }
    let expired: @Sendable () -> APIProblem = {
      kicks.countTimeouts()
      let who = index.map { "vCPU \($0) of \(vm.id)" } ?? "A vCPU of \(vm.id)"
      return APIProblem(.kickTimeout, "\(who) did not acknowledge the kick within \(timeoutMS) ms.")
    }
    // The kick is published once; only the waiting for it may go on elsewhere.
    let deadlineNS = kicks.requestedAtNS + UInt64(timeoutMS) * 1_000_000
    return try api.waiting(untilNS: deadlineNS, expired: expired) { (end, _) throws(APIProblem) in
      let outcomes: [KickOutcome]
      do throws(MachineControlError) {
        outcomes = try kicks.wait(untilNS: end)
      } catch {
        if case .timedOut = error { return nil }
        throw APIProblem(error, vm: vm.id)
      }
      vm.record(outcomes, of: kicks)
      return format(vm, outcomes).response
    }
  }

  // MARK: Registers

  private static func registers(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let vm = try api.vm(call)
    let index = call.parameters.index
    let patienceNS = LifecycleRoutes.patienceNS
    let expired: @Sendable () -> APIProblem = { APIProblem(.timedOut(waitedNS: patienceNS), vm: vm.id) }
    return try api.waiting(untilNS: MonotonicClock.now() + patienceNS, expired: expired) {
      (end, _) throws(APIProblem) in
      let registers: (general: GeneralRegisters, special: SpecialRegisters)
      do throws(MachineControlError) {
        registers = try vm.machine.registers(vcpu: index, untilNS: end)
      } catch {
        if case .timedOut = error { return nil }
        throw APIProblem(error, vm: vm.id)
      }
      return try .json(RegistersDocument(registers.general, registers.special, vm: vm.id, vcpu: index))
    }
  }
}
