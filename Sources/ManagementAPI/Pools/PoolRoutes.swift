import APIModel
import Control
import HTTPServer
import JSONCodec
import LinuxSupport
import PoolManager

/// `/v1/pools` and `/v1/pools/{pool}`.
enum PoolRoutes {
  static let routes = [
    Route(
      method: .get, template: "/v1/pools", operationID: "listPools", scope: .read, query: ["limit", "page_token"],
      operation: list),
    Route(method: .get, template: "/v1/pools/{pool}", operationID: "getPool", scope: .read, operation: get),
    Route(
      method: .put, template: "/v1/pools/{pool}", operationID: "putPool", scope: .pools, body: .json(isRequired: true),
      isNewWork: true, operation: put),
    Route(
      method: .patch, template: "/v1/pools/{pool}", operationID: "patchPool", scope: .pools, body: .mergePatch,
      isNewWork: true,
      operation: patch),
    Route(
      method: .delete, template: "/v1/pools/{pool}", operationID: "deletePool", scope: .pools, query: ["force"],
      operation: delete),
  ]

  private static func list(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let (pools, token) = try api.fleet.pools(
      for: context.viewer, after: context.query.qualifiedName("page_token"), limit: context.query.pageLimit())
    let documents = pools.map {
      PoolDocument($0, source: api.pools.entry($0.name)?.source ?? .api, on: api.configuration.host)
    }
    return try .json(Page(items: documents, nextPageToken: token))
  }

  private static func get(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let name = context.parameters.name
    let pool = try api.pool(context)
    // A pool that is being deleted has no declaration, and so no tag.
    guard let entry = api.pools.entry(pool.name) else { return try response(pool, nil, api) }
    return try context.unlessUnchanged(entry.tag, "The pool \(name)") { () throws(APIProblem) in
      try response(pool, entry, api)
    }
  }

  private static func put(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let name = context.parameters.name
    let document = try context.poolDocument(DeclarePoolDocument.self)
    try context.checkPoolName()
    let holds = try context.condition().precondition(of: "The pool \(name)")
    let (pool, entry, isNew) = try translating { () throws(DeclarationRefusal) in
      try api.pools.put(document, as: context.qualifiedName, if: holds, by: context.origin)
    }
    var response = try response(pool, entry, api)
    if isNew {
      response.status = 201
      response.headers.append(("Location", context.location("/v1/pools/" + name)))
    }
    return response
  }

  private static func patch(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let name = context.parameters.name
    let patch = try context.poolDocument(PoolPatch.self)
    let pool = try api.ownPool(context).name
    let holds = try context.condition().precondition(of: "The pool \(name)")
    let (status, entry) = try translating { () throws(DeclarationRefusal) in
      try api.pools.patch(pool, with: patch, if: holds, by: context.origin)
    }
    return try response(status, entry, api)
  }

  private static func delete(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let name = context.parameters.name
    let force = try context.query.word("force", of: ["true", "false"]) == "true"
    let holds = try context.condition().precondition(of: "The pool \(name)")
    let pool = try api.ownPool(context).name
    let end = Waiting<PoolDeletion>()
    let waits = try translating { () throws(DeclarationRefusal) in
      try api.pools.delete(
        pool, if: holds, force: force, by: context.origin, untilNS: context.receivedNS + patienceNS
      ) { end.happened($0) }
    }
    // What takes longer goes on without the client: a lease may last a day, and a VM may not want to stop.
    if waits { return try accepted(try translating { () throws(FleetError) in try api.fleet.pool(pool) }, api) }
    guard case .happened(.goesOn(let pool)) = await end.outcome() else { return .noContent }
    return try accepted(pool, api)
  }

  /// How long DELETE waits for VMs that are being taken apart.
  private static let patienceNS: UInt64 = 10_000_000_000

  private static func accepted(_ pool: PoolStatus, _ api: APIHandler) throws(APIProblem) -> HTTPResponse {
    var response = try response(pool, nil, api)
    response.status = 202
    return response
  }

  private static func response(
    _ pool: PoolStatus, _ entry: PoolDeclarations.Entry?, _ api: APIHandler
  ) throws(APIProblem) -> HTTPResponse {
    var response = try HTTPResponse.json(PoolDocument(pool, source: entry?.source ?? .api, on: api.configuration.host))
    if let entry { response.headers.append(("ETag", entry.tag)) }
    return response
  }
}

extension Context {
  /// Refuses the name of a pool that the principal is not bound to, as if nothing could be there.
  fileprivate func checkPoolName() throws(APIProblem) {
    guard viewer.admits(pool: parameters.name) else { throw .noSuchPool(parameters.name) }
  }

  /// The body as a document about the pool that the path names. What GET gives and only the server sets is passed over, but
  /// the name has to be the pool's.
  fileprivate func poolDocument<T: Decodable>(_ type: T.Type) throws(APIProblem) -> T {
    do throws(JSONDecodingError) {
      let document = try JSON.decode(type, from: body, passingOver: PoolDocument.readOnlyMembers)
      guard let name = try JSON.decode(Named.self, from: body, unknownMembers: .ignore).name, name != parameters.name
      else {
        return document
      }
      throw JSONDecodingError(
        .badValue("it is \"\(name.clipped())\", and the path names \(parameters.name)"), pointer: "/name")
    } catch {
      throw APIProblem(error)
    }
  }
}

private struct Named: Decodable {
  let name: String?
}
