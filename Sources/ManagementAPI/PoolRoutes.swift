import APIModel
import HTTPServer
import LinuxSupport
import PoolManager

/// `/v1/pools` and `/v1/pools/{pool}`.
enum PoolRoutes {
  static let routes = [
    Route(
      method: .get, template: "/v1/pools", operationID: "listPools", query: ["limit", "page_token"], handler: list),
    Route(method: .get, template: "/v1/pools/{pool}", operationID: "getPool", handler: get),
    Route(
      method: .put, template: "/v1/pools/{pool}", operationID: "putPool", body: .json(isRequired: true),
      isNewWork: true, handler: put),
    Route(
      method: .patch, template: "/v1/pools/{pool}", operationID: "patchPool", body: .mergePatch, isNewWork: true,
      handler: patch),
    Route(
      method: .delete, template: "/v1/pools/{pool}", operationID: "deletePool", query: ["force"], handler: delete),
  ]

  private static func list(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let documents = api.fleet.pools.map { PoolDocument($0, source: api.pools.entry($0.name)?.source ?? .api) }
    return .now(try .json(try Page(of: documents, by: \.name, call.query)))
  }

  private static func get(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let name = call.parameters.name
    let pool = try translating { () throws(FleetError) in try api.fleet.pool(name) }
    return .now(try response(pool, api.pools.entry(name)))
  }

  private static func put(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let name = call.parameters.name
    let document = try call.document(DeclarePoolDocument.self)
    let (pool, entry, isNew) = try api.pools.put(name, try call.condition(), by: call.origin) { _ in document }
    var response = try response(pool, entry)
    if isNew {
      response.status = 201
      response.headers.append(("Location", "/v1/pools/" + name))
    }
    return .now(response)
  }

  private static func patch(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let name = call.parameters.name
    let patch = try call.document(PoolPatch.self)
    let (pool, entry, _) = try api.pools.put(name, try call.condition(), by: call.origin) { old throws(APIProblem) in
      guard let old else { throw APIProblem(FleetError.noSuchPool(name)) }
      do throws(PoolPatch.MissingMember) {
        return try patch.applied(to: old).get()
      } catch {
        throw .invalid(error.pointer, "\(error.pointer.dropFirst()) cannot be left out; give another value.")
      }
    }
    return .now(try response(pool, entry))
  }

  private static func delete(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let name = call.parameters.name
    let force = try call.query.word("force", of: ["true", "false"]) == "true"
    let condition = try call.condition()
    return .suspended { waiter in
      waiter.completeNow { () throws(APIProblem) in
        let deadlineNS = MonotonicClock.now() + patienceNS
        let waits = try api.pools.delete(name, condition, force: force, by: call.origin, untilNS: deadlineNS) {
          outcome in
          waiter.complete { () throws(APIProblem) in
            switch outcome {
            case .complete: .noContent
            case .goesOn(let pool): try accepted(pool)
            }
          }
        }
        return waits ? try accepted(try translating { () throws(FleetError) in try api.fleet.pool(name) }) : nil
      }
    }
  }

  /// How long DELETE waits for VMs that are being taken apart.
  private static let patienceNS: UInt64 = 10_000_000_000

  private static func accepted(_ pool: PoolStatus) throws(APIProblem) -> HTTPResponse {
    var response = try response(pool, nil)
    response.status = 202
    return response
  }

  private static func response(
    _ pool: PoolStatus, _ entry: PoolDeclarations.Entry?
  ) throws(APIProblem) -> HTTPResponse {
    var response = try HTTPResponse.json(PoolDocument(pool, source: entry?.source ?? .api))
    if let entry { response.headers.append(("ETag", entry.tag)) }
    return response
  }
}

extension Call {
  /// On whose behalf it is.
  var origin: Origin { Origin(who: request.head.peer, requestID: request.head.requestID) }
}
