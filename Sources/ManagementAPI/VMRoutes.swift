import APIModel
import GuestImages
import HTTPServer
import LinuxSupport
import MachineRuntime
import PoolManager

/// `/v1/vms` and `/v1/vms/{vm}`.
enum VMRoutes {
  static let routes = [
    Route(
      method: .get, template: "/v1/vms", operationID: "listVMs", query: ["pool", "state", "limit", "page_token"],
      handler: list),
    Route(
      method: .post, template: "/v1/vms", operationID: "createVM", body: .json(isRequired: true),
      isIdempotent: true, isNewWork: true,
      handler: create),
    Route(
      method: .get, template: "/v1/vms/{vm}", operationID: "getVM", query: ["wait_for", "timeout_ms"], handler: get),
    Route(method: .delete, template: "/v1/vms/{vm}", operationID: "deleteVM", handler: delete),
  ]

  private static let states = ["ready", "running", "paused", "stopped"]

  private static func list(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let limit = try call.query.pageLimit()
    let pool = try call.query.resourceName("pool")
    let state = try call.query.word("state", of: states)
    let token = try call.query.integer("page_token", in: 1...999_999_999_999_999_999)
    let page = api.fleet.vms(of: pool, after: token.map(UInt64.init), limit: limit) { vm in
      state == nil || vm.machine.state.name == state
    }
    return .now(try .json(Page(items: page.vms.map(VMDocument.init), nextPageToken: page.next.map { String($0) })))
  }

  private static func get(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let vm = try api.vm(call)
    let state = try call.query.word("wait_for", of: states)
    let timeoutMS = try call.query.integer("timeout_ms", in: 0...600_000)
    guard let state, vm.machine.state.name != state else { return .now(try .json(VMDocument(vm))) }
    let deadlineNS = MonotonicClock.now() + UInt64(timeoutMS ?? 30_000) * 1_000_000
    return .suspended { waiter in wait(for: state, of: vm, untilNS: deadlineNS, api.fleet, waiter) }
  }

  /// Answers when the VM is in that state, when it can be no more, or with what it is when the time is up.
  private static func wait(
    for state: String, of vm: VM, untilNS deadlineNS: UInt64, _ fleet: Fleet, _ waiter: Waiter
  ) {
    let answer: @Sendable () throws(APIProblem) -> HTTPResponse = { () throws(APIProblem) in try .json(VMDocument(vm)) }
    let watch = fleet.watch(vm.id) { now in
      guard let now else {
        waiter.fail(.noSuchVM(vm.id))
        return false
      }
      guard now.name == state || now.isFinal else { return true }
      waiter.complete(answer)
      return false
    }
    waiter.whenClientLeaves { fleet.unwatch(watch) }
    waiter.expire(atNS: deadlineNS) { () throws(APIProblem) in
      fleet.unwatch(watch)
      return try answer()
    }
    // It may have got there before it was watched.
    if vm.machine.state.name == state || vm.machine.state.isFinal {
      fleet.unwatch(watch)
      waiter.complete(answer)
    }
  }

  private static func create(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let document = try call.document(CreateVMDocument.self)
    let specification = try VMSpecification(document, api.images)
    let arguments = GuestArguments(commandLine: document.commandLine, environment: document.environment)
    return .later(.working) { () throws(APIProblem) in
      // A vCPU that is not there within a second was started all the same; the document tells.
      let deadlineNS = MonotonicClock.now() + 1_000_000_000
      let vm = try translating { () throws(FleetError) in
        try api.fleet.create(specification, arguments, start: document.start ?? true, untilNS: deadlineNS)
      }
      return try .created(VMDocument(vm), at: "/v1/vms/" + vm.id)
    }
  }

  private static func delete(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let id = call.parameters.vm
    let fence = try call.fence()
    return .later(.working) { () throws(APIProblem) in
      try translating { () throws(FleetError) in try api.fleet.delete(id, fence: fence) }
      return .noContent
    }
  }
}

extension MachineState {
  /// Whether no other state follows.
  fileprivate var isFinal: Bool { if case .stopped = self { true } else { false } }
}
