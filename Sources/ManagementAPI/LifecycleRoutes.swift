import APIModel
import LinuxSupport
import MachineRuntime
import PoolManager

/// `/v1/vms/{vm}/start`, `/pause`, `/resume` and `/stop`.
enum LifecycleRoutes {
  static let routes = [
    route("start", isNewWork: true) { (machine, end) throws(MachineControlError) in try machine.start(untilNS: end) },
    route("pause") { (machine, end) throws(MachineControlError) in try machine.pause(untilNS: end) },
    route("resume", isNewWork: true) { (machine, end) throws(MachineControlError) in try machine.resume(untilNS: end) },
    route("stop") { (machine, end) throws(MachineControlError) in try machine.stop(.killed, untilNS: end) },
  ]

  /// How long a vCPU has to acknowledge before the client is told so.
  static let patienceNS: UInt64 = 5_000_000_000

  private typealias Control = @Sendable (any ManagedMachine, UInt64) throws(MachineControlError) -> Void

  private static func route(_ verb: String, isNewWork: Bool = false, _ control: @escaping Control) -> Route {
    Route(
      method: .post, template: "/v1/vms/{vm}/\(verb)", operationID: "\(verb)VM", body: .json(isRequired: false),
      isNewWork: isNewWork
    ) { (api, call) throws(APIProblem) in
      _ = try call.documentIfAny(EmptyDocument.self)
      return try perform(control, on: try api.vm(call, isTaken: true), api)
    }
  }

  private static func perform(_ control: @escaping Control, on vm: VM, _ api: APIHandler) throws(APIProblem)
    -> Answer
  {
    let expired: @Sendable () -> APIProblem = {
      APIProblem(.timedOut(waitedNS: patienceNS), vm: vm.id)
    }
    return try api.waiting(untilNS: MonotonicClock.now() + patienceNS, expired: expired) {
      (end, isFirst) throws(APIProblem) in
      do throws(MachineControlError) {
        try control(vm.machine, end)
      } catch {
        switch error {
        case .timedOut: return nil
        // It was possible when it was asked for first; the VM has gone further since, its guest has ended perhaps.
        case .invalidState where !isFirst: break
        case .invalidState, .noSuchVCPU, .arguments, .deleted, .failed: throw APIProblem(error, vm: vm.id)
        }
      }
      return try .json(VMDocument(vm))
    }
  }
}
