import APIModel
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
      method: .post, template: "/v1/vms", operationID: "createVM", body: .json(isRequired: true), isNewWork: true,
      handler: create),
    Route(method: .get, template: "/v1/vms/{vm}", operationID: "getVM", handler: get),
    Route(method: .delete, template: "/v1/vms/{vm}", operationID: "deleteVM", handler: delete),
  ]

  private static func list(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let limit = try call.query.pageLimit()
    let pool = try call.query.resourceName("pool")
    let state = try call.query.word("state", of: ["ready", "running", "paused", "stopped"])
    let token = try call.query.integer("page_token", in: 1...999_999_999_999_999_999)
    let page = api.fleet.vms(after: token.map(UInt64.init), limit: limit) { vm in
      (pool == nil || vm.pool == pool) && (state == nil || vm.machine.state.name == state)
    }
    return .now(try .json(Page(items: page.vms.map(VMDocument.init), nextPageToken: page.next.map { String($0) })))
  }

  private static func get(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    .now(try .json(VMDocument(try api.vm(call))))
  }

  private static func create(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let document = try call.document(CreateVMDocument.self)
    let specification = try VMSpecification(document)
    return .later(.working) { () throws(APIProblem) in
      // A vCPU that is not there within a second was started all the same; the document tells.
      let deadlineNS = MonotonicClock.now() + 1_000_000_000
      let vm = try translating { () throws(FleetError) in
        try api.fleet.create(specification, start: document.start ?? true, untilNS: deadlineNS)
      }
      return try .created(VMDocument(vm), at: "/v1/vms/" + vm.id)
    }
  }

  private static func delete(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let id = call.parameters.vm
    return .later(.working) { () throws(APIProblem) in
      try translating { () throws(FleetError) in try api.fleet.delete(id) }
      return .noContent
    }
  }
}
