import APIModel
import HTTPServer
import KVM
import LinuxSupport
import MachineRuntime
import PoolManager
import VCPURuntime

/// `/v1/vms/{vm}/vcpus` and below, and `/v1/vms/{vm}/kick`.
enum VCPURoutes {
  static let routes = [
    Route(
      method: .post, template: "/v1/vms/{vm}/kick", operationID: "kickVM", scope: .control,
      body: .json(isRequired: false),
      endsWithClient: true, operation: kick),
    Route(method: .get, template: "/v1/vms/{vm}/vcpus", operationID: "listVCPUs", scope: .read, operation: list),
    Route(method: .get, template: "/v1/vms/{vm}/vcpus/{index}", operationID: "getVCPU", scope: .read, operation: get),
    Route(
      method: .post, template: "/v1/vms/{vm}/vcpus/{index}/kick", operationID: "kickVCPU", scope: .control,
      body: .json(isRequired: false), endsWithClient: true, operation: kick),
    Route(
      method: .get, template: "/v1/vms/{vm}/vcpus/{index}/registers", operationID: "getRegisters", scope: .control,
      endsWithClient: true, operation: registers),
  ]

  private static func list(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let vm = try api.vm(context)
    let items = vm.machine.vcpuStatistics.map { VCPUDocument($0, vm: vm.id) }
    // A VM without vCPUs is one that is just being deleted.
    guard !items.isEmpty else { throw .noSuchVM(vm.id) }
    return try .json(Page(items: items, nextPageToken: nil))
  }

  private static func get(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let vm = try api.vm(context)
    let statistics = try translating(vm) { () throws(MachineControlError) in
      try vm.machine.statistics(of: context.parameters.index ?? 0)
    }
    return try .json(VCPUDocument(statistics, vm: vm.id))
  }

  // MARK: Kicks

  /// Kicks one vCPU, or all of a VM, and answers when they have acknowledged.
  private static func kick(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let document = try context.documentIfAny(KickRequestDocument.self)
    let timeoutMS = try checked(document?.timeoutMS, default: 1000, in: 1...60_000, at: "/timeout_ms")
    let index = context.parameters.index
    let vm = try api.vm(context)
    // Published once, all vCPUs before the first is waited for; what follows only waits.
    let kicks = try translating(vm) { () throws(MachineControlError) in try vm.machine.requestKicks(vcpu: index) }
    let outcomes = try await api.acknowledgement(
      of: vm, untilNS: kicks.requestedAtNS + UInt64(timeoutMS) * 1_000_000, notify: kicks.notify
    ) { end throws(MachineControlError) in
      try kicks.wait(untilNS: end)
    }
    guard let outcomes else {
      kicks.countTimeouts()
      let what = index.map { "vCPU \($0) of \(vm.id)" } ?? "A vCPU of \(vm.id)"
      throw APIProblem(.kickTimeout, "\(what) did not acknowledge the kick within \(timeoutMS) ms.")
    }
    vm.record(outcomes, of: kicks)
    let mechanism = vm.machine.configuration.mechanism
    if let index { return try .json(KickDocument(outcomes[0], vm: vm.id, vcpu: index, mechanism: mechanism)) }
    let documents = outcomes.enumerated().map { KickDocument($1, vm: vm.id, vcpu: $0, mechanism: mechanism) }
    return try .json(KickAllDocument(vm: vm.id, kicks: documents))
  }

  // MARK: Registers

  private static func registers(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let vm = try api.vm(context)
    let index = context.parameters.index ?? 0
    // The vCPU's own thread reads them, once it has parked.
    let pending = try translating(vm) { () throws(MachineControlError) in
      try vm.machine.requestRegisters(vcpu: index)
    }
    let registers = try await api.acknowledgement(
      of: vm, untilNS: context.receivedNS + api.configuration.controlNS, notify: pending.notify
    ) { end throws(MachineControlError) in
      try pending.wait(untilNS: end)
    }
    guard let (general, special) = registers else {
      throw APIProblem(.timedOut(waitedNS: api.configuration.controlNS), vm: vm.id)
    }
    return try .json(RegistersDocument(general, special, vm: vm.id, vcpu: index))
  }
}
