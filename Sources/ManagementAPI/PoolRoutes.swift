import APIModel
import PoolManager

/// `/v1/pools` and below.
enum PoolRoutes {
  static let routes = [
    Route(
      method: .get, template: "/v1/pools", operationID: "listPools", query: ["limit", "page_token"], handler: list),
    Route(method: .get, template: "/v1/pools/{pool}", operationID: "getPool", handler: get),
    Route(
      method: .put, template: "/v1/pools/{pool}", operationID: "putPool", body: .json(isRequired: true),
      isNewWork: true, handler: put),
    Route(method: .delete, template: "/v1/pools/{pool}", operationID: "deletePool", handler: delete),
  ]

  private static func list(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    .now(try .json(try Page(of: api.fleet.pools.map(PoolDocument.init), by: \.name, call.query)))
  }

  private static func get(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let pool = try translating { () throws(FleetError) in try api.fleet.pool(call.parameters.name) }
    return .now(try .json(PoolDocument(pool)))
  }

  private static func put(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let name = call.parameters.name
    let specification = try PoolSpecification(try call.document(DeclarePoolDocument.self))
    let (pool, isNew) = try translating { () throws(FleetError) in try api.fleet.declare(name, specification) }
    let document = PoolDocument(pool)
    return .now(try isNew ? .created(document, at: "/v1/pools/" + name) : .json(document))
  }

  private static func delete(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let name = call.parameters.name
    return .later(.working) { () throws(APIProblem) in
      try translating { () throws(FleetError) in try api.fleet.deletePool(name) }
      return .noContent
    }
  }
}
