import APIModel
import GuestImages
import HTTPServer
import PoolManager
import Synchronization

/// `/v1/pools/{pool}/leases` and `/v1/leases`.
enum LeaseRoutes {
  static let routes = [
    Route(
      method: .post, template: "/v1/pools/{pool}/leases", operationID: "createLease", body: .json(isRequired: false),
      isIdempotent: true, isNewWork: true, handler: create),
    Route(
      method: .get, template: "/v1/pools/{pool}/leases", operationID: "listPoolLeases",
      query: ["limit", "page_token"], handler: listOfPool),
    Route(
      method: .get, template: "/v1/leases", operationID: "listLeases", query: ["pool", "limit", "page_token"],
      handler: list),
    Route(method: .get, template: "/v1/leases/{lease}", operationID: "getLease", handler: get),
    Route(
      method: .patch, template: "/v1/leases/{lease}", operationID: "extendLease", body: .json(isRequired: false),
      handler: extend),
    Route(method: .delete, template: "/v1/leases/{lease}", operationID: "releaseLease", handler: release),
  ]

  private static func create(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let document = try call.documentIfAny(LeaseRequestDocument.self)
    let request = try LeaseRequest(document, by: call.origin)
    let starts = document?.start ?? true
    try api.check(request.arguments, forPool: call.parameters.name)
    return try lease(api, from: call.parameters.name, request) { lease throws(APIProblem) in
      var response = HTTPResponse.dynamic(status: 201, type: "application/json", body: LeaseText.document(lease))
      response.headers.append(("Location", "/v1/leases/" + lease.id))
      // Whoever looks finds it running. Its threads want processors, so they are woken when the answer is on its way: they
      // would be waited for otherwise. A VM that was deleted meanwhile has ended its lease, too.
      let wake = starts ? try? lease.vm.machine.startAsleep() : nil
      response.whenOver = { isDelivered in
        wake?.deliver()
        // Nobody else knows of the lease, and nobody would ever end it.
        if !isDelivered { _ = api.fleet.end(lease.id, .abandoned, by: .server) }
      }
      return response
    }
  }

  /// Answers with what `answer` makes of a lease, at once or when the caller's turn has come.
  private static func lease(
    _ api: APIHandler, from pool: String, _ request: LeaseRequest,
    _ answer: @escaping @Sendable (Lease) throws(APIProblem) -> HTTPResponse
  ) throws(APIProblem) -> Answer {
    let pending = PendingLease(api.fleet, pool, answer)
    let outcome: LeaseAnswer
    do throws(LeaseRefusal) {
      outcome = try api.fleet.lease(from: pool, request) { pending.told($0) }
    } catch {
      throw APIProblem(error, pool: pool)
    }
    switch outcome {
    case .granted(let lease): return .now(try answer(lease))
    case .waiting(let wait): return .suspended { pending.begin($0, wait) }
    }
  }

  // MARK: Those there are

  private static func list(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    try page(api, call, of: try call.query.resourceName("pool"))
  }

  private static func listOfPool(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let pool = call.parameters.name
    _ = try translating { () throws(FleetError) in try api.fleet.pool(pool) }
    return try page(api, call, of: pool)
  }

  private static func page(_ api: APIHandler, _ call: Call, of pool: String?) throws(APIProblem) -> Answer {
    let limit = try call.query.pageLimit()
    let token = try call.query.integer("page_token", in: 1...999_999_999_999_999_999).map(UInt64.init) ?? 0
    let (leases, next) = api.fleet.leases(of: pool, after: token, limit: limit)
    return .now(try .json(Page(items: leases.map(LeaseDocument.init), nextPageToken: next.map { String($0) })))
  }

  private static func get(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let id = call.parameters.lease
    guard let lease = api.fleet.lease(id) else { throw try api.ended(id) }
    return .now(.dynamic(status: 200, type: "application/json", body: LeaseText.document(lease)))
  }

  private static func extend(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let id = call.parameters.lease
    let document = try call.documentIfAny(ExtendLeaseDocument.self)
    let ttlNS = try LeaseRequest.ttlNS(document?.ttlMS)
    let extended: Lease?
    do throws(JournalFailure) {
      extended = try api.fleet.extend(id, ttlNS: ttlNS, shortens: document?.shorten ?? false, by: call.origin)
    } catch {
      throw APIProblem(error)
    }
    guard let extended else { throw try api.ended(id) }
    return .now(.dynamic(status: 200, type: "application/json", body: LeaseText.document(extended)))
  }

  private static func release(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let id = call.parameters.lease
    guard api.fleet.end(id, .released, by: call.origin) else {
      let problem = try api.ended(id)
      // Asking again for what is done already is no mistake.
      if problem.kind == .leaseReleased { return .now(.noContent) }
      throw problem
    }
    return .now(.noContent)
  }
}

/// A request that waits for a lease: what its client and the fleet agree upon, whichever is first.
private final class PendingLease: Sendable {
  private struct State {
    var waiter: Waiter?
    var result: Result<Lease, LeaseRefusal>?
    var hasLeft = false
  }

  private let fleet: Fleet
  private let pool: String
  private let answer: @Sendable (Lease) throws(APIProblem) -> HTTPResponse
  /// Guards the state; a leaf lock.
  private let state = Mutex(State())

  init(_ fleet: Fleet, _ pool: String, _ answer: @escaping @Sendable (Lease) throws(APIProblem) -> HTTPResponse) {
    self.fleet = fleet
    self.pool = pool
    self.answer = answer
  }

  /// The request is suspended.
  func begin(_ waiter: Waiter, _ wait: LeaseWait) {
    let result = state.withLock { state in
      state.waiter = waiter
      return state.result
    }
    if let result { return settle(waiter, result) }
    waiter.whenClientLeaves { self.left(wait) }
  }

  /// The fleet has an answer.
  func told(_ result: Result<Lease, LeaseRefusal>) {
    let (waiter, hasLeft) = state.withLock { state in
      state.result = result
      return (state.waiter, state.hasLeft)
    }
    if hasLeft {
      if case .success(let lease) = result { _ = fleet.end(lease.id, .abandoned, by: .server) }
    } else if let waiter {
      settle(waiter, result)
    }
  }

  private func left(_ wait: LeaseWait) {
    let result = state.withLock { state in
      state.hasLeft = true
      return state.result
    }
    // With an answer it is settled; without one it may still be on its way, and is undone when it comes.
    if result == nil { _ = fleet.leave(wait) }
  }

  private func settle(_ waiter: Waiter, _ result: Result<Lease, LeaseRefusal>) {
    let isWanted =
      switch result {
      case .success(let lease): waiter.complete { () throws(APIProblem) in try answer(lease) }
      case .failure(let refusal): waiter.fail(APIProblem(refusal, pool: pool))
      }
    if !isWanted, case .success(let lease) = result { _ = fleet.end(lease.id, .abandoned, by: .server) }
  }
}

extension APIHandler {
  /// Refuses what the guests of that pool cannot be told, before one of them is taken for it.
  func check(_ arguments: GuestArguments, forPool name: String) throws(APIProblem) {
    if arguments.isEmpty { return }
    let vm = try translating { () throws(FleetError) in try fleet.pool(name) }.specification.vm
    let places: ArgumentPlaces
    do throws(GuestLayoutError) {
      places = try vm.image.layout(memoryBytes: UInt64(vm.memoryMiB) << 20, vcpus: vm.vcpus).arguments
    } catch { throw APIProblem(error) }
    do throws(GuestArgumentsError) {
      _ = try places.segments(for: arguments)
    } catch { throw APIProblem(error) }
  }
}

extension LeaseRequest {
  fileprivate init(_ document: LeaseRequestDocument?, by origin: Origin) throws(APIProblem) {
    let labels = document?.labels ?? [:]
    guard labels.count <= 16 else { throw .invalid("/labels", "There are \(labels.count) labels; give at most 16.") }
    for (name, value) in labels where name.utf8.count > 64 || value.utf8.count > 256 {
      throw .invalid(
        "/labels", "The label \(name.clipped(to: 64)) is too long; give a name of at most 64 bytes, a value of 256.")
    }
    self.init(
      ttlNS: try Self.ttlNS(document?.ttlMS), waitNS: try Self.waitNS(document?.waitMS),
      labels: labels, arguments: GuestArguments(commandLine: document?.commandLine, environment: document?.environment),
      origin: origin)
  }

  fileprivate static func ttlNS(_ milliseconds: Int?) throws(APIProblem) -> UInt64 {
    UInt64(try checked(milliseconds, default: 60_000, in: 1...86_400_000, at: "/ttl_ms")) * 1_000_000
  }

  static func waitNS(_ milliseconds: Int?) throws(APIProblem) -> UInt64 {
    UInt64(try checked(milliseconds, default: 0, in: 0...600_000, at: "/wait_ms")) * 1_000_000
  }
}

extension APIProblem {
  init(_ refusal: LeaseRefusal, pool: String) {
    switch refusal {
    case .noSuchPool: self.init(FleetError.noSuchPool(pool))
    case .poolDeleted: self.init(FleetError.poolDraining(pool))
    case .draining: self = .draining
    case .notRecorded(let failure): self.init(failure)
    case .untold(let vm, let error): self.init(error, vm: vm)
    case .exhausted(let waiting, let reason):
      let others = waiting == 1 ? "1 other waits" : "\(waiting) others wait"
      let advice =
        reason.map { "\($0)".asSentence }
        ?? "Try again, wait longer (wait_ms), or let the pool keep more ready."
      self.init(
        .poolExhausted, "No VM of the pool \(pool) was ready in time, and \(others) for one. \(advice)",
        waiting: waiting)
    }
  }
}
