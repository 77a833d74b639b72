import APIModel
import Control
import GuestImages
import HTTPServer
import LinuxSupport
import MachineRuntime
import PoolManager

/// `/v1/vms` and `/v1/vms/{vm}`.
enum VMRoutes {
  static let routes = [
    Route(
      method: .get, template: "/v1/vms", operationID: "listVMs", scope: .read,
      query: ["pool", "state", "limit", "page_token"],
      operation: list),
    Route(
      method: .post, template: "/v1/vms", operationID: "createVM", scope: .control, body: .json(isRequired: true),
      isIdempotent: true, isThere: { api, id in (try? api.fleet.vm(id)) != nil }, isNewWork: true, operation: create),
    Route(
      method: .get, template: "/v1/vms/{vm}", operationID: "getVM", scope: .read, query: ["wait_for", "timeout_ms"],
      endsWithClient: true, operation: get),
    Route(method: .delete, template: "/v1/vms/{vm}", operationID: "deleteVM", scope: .control, operation: delete),
  ]

  private static let states = ["ready", "running", "paused", "stopped"]

  private static func list(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let limit = try context.query.pageLimit()
    let pool = try api.queriedPool(context)
    let state = try context.query.word("state", of: states)
    let token = try context.query.integer("page_token", in: 1...999_999_999_999_999_999)
    let page = api.fleet.vms(of: pool, for: context.viewer, after: token.map(UInt64.init), limit: limit) { vm in
      state == nil || vm.machine.state.name == state
    }
    return try .json(
      Page(
        items: page.vms.map { VMDocument($0, on: api.configuration.host) }, nextPageToken: page.next.map { String($0) })
    )
  }

  private static func get(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let vm = try api.vm(context)
    let state = try context.query.word("wait_for", of: states)
    let timeoutMS = try context.query.integer("timeout_ms", in: 0...600_000)
    guard let state else { return try .json(VMDocument(vm, on: api.configuration.host, looksAtMemory: true)) }
    let deadlineNS = context.receivedNS + UInt64(timeoutMS ?? 30_000) * 1_000_000
    try await wait(for: state, of: vm, untilNS: deadlineNS, api)
    return try .json(VMDocument(vm, on: api.configuration.host, looksAtMemory: true))
  }

  /// Returns when the VM is in that state, when it can be in it no more, or when the time is up.
  private static func wait(
    for state: String, of vm: VM, untilNS deadlineNS: UInt64, _ api: APIHandler
  ) async throws(APIProblem) {
    if vm.machine.state.name == state { return }
    enum End { case there, gone }
    let end = Waiting<End>()
    let watch = api.fleet.watch(vm.id) { now in
      guard let now else {
        end.happened(.gone)
        return false
      }
      guard now.name == state || now.isFinal else { return true }
      end.happened(.there)
      return false
    }
    defer { api.fleet.unwatch(watch) }
    // It may have got there before it was watched.
    if vm.machine.state.name == state || vm.machine.state.isFinal { return }
    switch await end.outcome(untilNS: deadlineNS, within: api.configuration.load) {
    case .happened(.there), .expired: return
    case .happened(.gone): throw .noSuchVM(vm.id)
    case .refused: throw .tooManyWaiting(api.configuration.load)
    case .left: throw .clientLeft
    }
  }

  private static func create(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let document = try context.document(CreateVMDocument.self)
    // It would be of no pool, and so not be there for a key that is bound to pools.
    guard context.principal.pools == nil else {
      throw APIProblem(.scopeMissing, "A key that is bound to pools makes no VM by hand; lease one of a pool.")
    }
    let specification: VMSpecification
    do throws(SpecificationError) {
      specification = try VMSpecification(document, from: api.images, of: context.tenant)
    } catch {
      throw APIProblem(error)
    }
    let arguments = GuestArguments(commandLine: document.commandLine, environment: document.environment)
    return try await api.working { () throws(APIProblem) in
      // A vCPU that is not there within a second was started all the same; the document tells.
      let deadlineNS = MonotonicClock.now() + 1_000_000_000
      let vm = try translating { () throws(FleetError) in
        try api.fleet.create(
          specification, for: context.tenant, arguments: arguments, start: document.start ?? true, untilNS: deadlineNS)
      }
      return try .created(VMDocument(vm, on: api.configuration.host), at: "/v1/vms/" + vm.id)
    }
  }

  private static func delete(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let id = context.parameters.vm
    let fence = try context.fence()
    let end = Waiting<FleetError?>()
    try translating { () throws(FleetError) in
      try api.fleet.delete(id, for: context.viewer, fence: fence) { end.happened($0) }
    }
    // A client that leaves changes nothing: its VM is being taken apart.
    guard case .happened(let failure) = await end.outcome() else { throw .clientLeft }
    if let failure { throw APIProblem(failure) }
    return .noContent
  }
}

extension MachineState {
  /// Whether no other state follows.
  fileprivate var isFinal: Bool { if case .stopped = self { true } else { false } }
}
