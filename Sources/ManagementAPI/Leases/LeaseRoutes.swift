import APIModel
import Access
import GuestImages
import HTTPServer
import JSONCodec
import PoolManager

/// `/v1/pools/{pool}/leases` and `/v1/leases`.
enum LeaseRoutes {
  static let routes = [
    Route(
      method: .post, template: "/v1/pools/{pool}/leases", operationID: "createLease", scope: .lease,
      body: .json(isRequired: false),
      isIdempotent: true, isThere: { api, id in api.fleet.lease(id) != nil }, isNewWork: true, endsWithClient: true,
      operation: create),
    Route(
      method: .get, template: "/v1/pools/{pool}/leases", operationID: "listPoolLeases", scope: .read,
      query: ["limit", "page_token"], operation: listOfPool),
    Route(
      method: .get, template: "/v1/leases", operationID: "listLeases", scope: .read,
      query: ["pool", "limit", "page_token"],
      operation: list),
    Route(method: .get, template: "/v1/leases/{lease}", operationID: "getLease", scope: .read, operation: get),
    Route(
      method: .patch, template: "/v1/leases/{lease}", operationID: "extendLease", scope: .lease,
      body: .json(isRequired: false),
      operation: extend),
    Route(
      method: .delete, template: "/v1/leases/{lease}", operationID: "releaseLease", scope: .lease, operation: release),
  ]

  private static func create(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let document = try context.documentIfAny(LeaseRequestDocument.self)
    let request = try LeaseRequest(document, by: context.origin)
    let starts = document?.start ?? true
    let pool = try api.pool(context)
    try api.check(request.arguments, for: pool)
    let lease = try await api.lease(from: pool.name, request)
    var response = try HTTPResponse.json(LeaseDocument(lease), status: 201)
    response.headers.append(("Location", "/v1/leases/" + lease.id))
    // A client that looks finds it running. Its threads would keep the processors from the answer, so they are woken when
    // the answer has left. A VM that was deleted meanwhile has ended its lease, too.
    let wake = starts ? try? lease.vm.machine.startAsleep() : nil
    response.whenOver = { isDelivered in
      wake?.deliver()
      // No client knows of the lease, so none would ever end it.
      if !isDelivered { _ = api.fleet.end(lease.id, as: .abandoned, by: .server) }
    }
    return response
  }

  // MARK: Those there are

  private static func list(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    try page(api, context, of: try api.queriedPool(context))
  }

  private static func listOfPool(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    try page(api, context, of: try api.pool(context).name)
  }

  private static func page(_ api: APIHandler, _ context: Context, of pool: String?) throws(APIProblem) -> HTTPResponse {
    let limit = try context.query.pageLimit()
    let token = try context.query.integer("page_token", in: 1...999_999_999_999_999_999).map(UInt64.init) ?? 0
    let (leases, next) = api.fleet.leases(of: pool, for: context.viewer, after: token, limit: limit)
    return try .json(Page(items: leases.map(LeaseDocument.init), nextPageToken: next.map { String($0) }))
  }

  private static func get(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    try .json(LeaseDocument(try api.lease(context)))
  }

  private static func extend(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let document = try context.documentIfAny(ExtendLeaseDocument.self)
    let ttlNS = try LeaseRequest.ttlNS(document?.ttlMS)
    let id = try api.lease(context).id
    let extended: Lease?
    do throws(JournalFailure) {
      extended = try api.fleet.extend(id, ttlNS: ttlNS, shortens: document?.shorten ?? false, by: context.origin)
    } catch {
      throw APIProblem(error)
    }
    guard let extended else { throw try api.ended(context) }
    return try .json(LeaseDocument(extended))
  }

  private static func release(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let id = context.parameters.lease
    guard api.fleet.lease(id, for: context.viewer) != nil, api.fleet.end(id, as: .released, by: context.origin) else {
      let problem = try api.ended(context)
      // Asking again for what is done already is no mistake.
      if problem.kind == .leaseReleased { return .noContent }
      throw problem
    }
    return .noContent
  }
}

extension APIHandler {
  /// Takes a VM out of a pool, or waits for one in the pool's queue for as long as the request says. A lease that comes when
  /// the client has left is ended.
  func lease(from pool: String, _ request: LeaseRequest) async throws(APIProblem) -> Lease {
    let turn = Waiting<Result<Lease, LeaseRefusal>>()
    let answer: LeaseAnswer
    do throws(LeaseRefusal) {
      answer = try fleet.lease(from: pool, request) { [fleet] result in
        guard !turn.happened(result), case .success(let lease) = result else { return }
        _ = fleet.end(lease.id, as: .abandoned, by: .server)
      }
    } catch {
      throw APIProblem(error, pool: pool)
    }
    switch answer {
    case .granted(let lease): return lease
    case .waiting(let place):
      // The pool's queue keeps the deadline.
      let outcome = await turn.outcome(within: configuration.load)
      guard case .happened(let result) = outcome else {
        _ = fleet.leave(place)
        if case .refused = outcome { throw .tooManyWaiting(configuration.load) }
        throw .clientLeft
      }
      do throws(LeaseRefusal) { return try result.get() } catch { throw APIProblem(error, pool: pool) }
    }
  }

  /// Refuses arguments that the guests of that pool cannot take, before it takes one of them.
  func check(_ arguments: GuestArguments, for pool: PoolStatus) throws(APIProblem) {
    if arguments.isEmpty { return }
    let pool = pool.specification
    if pool.needsTemplate, let refusal = arguments.refusalAfterStart { throw APIProblem(refusal) }
    let vm = pool.vm
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
    let pool = Tenant.split(pool).name
    switch refusal {
    case .noSuchPool: self.init(FleetError.noSuchPool(pool))
    case .poolDeleted: self.init(FleetError.poolDraining(pool))
    case .draining: self = .draining
    case .quota(let refusal): self.init(refusal)
    case .notRecorded(let failure): self.init(failure)
    case .argumentsRefused(let vm, let error): self.init(error, vm: vm)
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
