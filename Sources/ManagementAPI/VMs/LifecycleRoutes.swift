import APIModel
import HTTPServer
import LinuxSupport
import MachineRuntime
import PoolManager

/// `/v1/vms/{vm}/start`, `/pause`, `/resume` and `/stop`.
enum LifecycleRoutes {
  static let routes = [
    route("start", isNewWork: true) { machine throws(MachineControlError) in try machine.requestStart(limitNS: nil) },
    route("pause") { machine throws(MachineControlError) in try machine.requestPause() },
    route("resume", isNewWork: true) { machine throws(MachineControlError) in try machine.requestResume() },
    route("stop") { machine throws(MachineControlError) in try machine.requestStop(.killed) },
  ]

  private typealias Control = @Sendable (TenantMachine) throws(MachineControlError) -> PendingRequests

  private static func route(_ verb: String, isNewWork: Bool = false, _ publish: @escaping Control) -> Route {
    Route(
      method: .post, template: "/v1/vms/{vm}/\(verb)", operationID: "\(verb)VM", scope: .control,
      body: .json(isRequired: false),
      isNewWork: isNewWork, endsWithClient: true
    ) { (api, context) throws(APIProblem) in
      _ = try context.documentIfAny(EmptyDocument.self)
      let vm = try api.vm(context, isTaken: true)
      // Published once; what follows only waits. So a later opposite request is not undone by this one.
      let patienceNS = api.configuration.controlNS
      let requests = try translating(vm) { () throws(MachineControlError) in try publish(vm.machine) }
      let isDone: Void? = try await api.acknowledgement(
        of: vm, untilNS: requests.requestedAtNS + patienceNS, notify: requests.notify
      ) { end throws(MachineControlError) in
        try requests.wait(untilNS: end)
      }
      guard isDone != nil else { throw APIProblem(.timedOut(waitedNS: patienceNS), vm: vm.id) }
      return try .json(VMDocument(vm, on: api.configuration.host))
    }
  }
}
