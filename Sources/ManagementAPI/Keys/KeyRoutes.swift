import APIModel
import Access
import Control
import HTTPServer
import LinuxSupport

/// `/v1/keys` and below.
///
/// Only an operator makes and revokes keys. Any other key that could make keys could outlive its own
/// revocation by them, and would have no limits. `createKey` takes no idempotency key: its answer would have to be kept, and the key with it.
enum KeyRoutes {
  static let routes = [
    Route(
      method: .get, template: "/v1/keys", operationID: "listKeys", scope: .read,
      query: ["tenant", "limit", "page_token"], operation: list),
    Route(
      method: .post, template: "/v1/keys", operationID: "createKey", scope: .admin, body: .json(isRequired: true),
      operation: create),
    Route(method: .get, template: "/v1/keys/{key_id}", operationID: "getKey", scope: .read, operation: get),
    Route(method: .delete, template: "/v1/keys/{key_id}", operationID: "revokeKey", scope: .admin, operation: revoke),
  ]

  private static func list(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let (token, limit) = (try context.query.keyID("page_token"), try context.query.pageLimit())
    let (keys, goesOn) = api.keys.page(after: token, limit: limit, of: context.viewer.tenant)
    return try .json(Page(items: keys.map { KeyDocument($0) }, nextPageToken: goesOn ? keys.last?.id : nil))
  }

  private static func create(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let document = try context.document(CreateKeyDocument.self)
    let grant = try grant(document, by: context.principal)
    let ttlMS = try document.ttlMS.map { ttl throws(APIProblem) in
      try checked(ttl, default: 0, in: 1000...3_153_600_000_000, at: "/ttl_ms")
    }
    let issued: IssuedKey
    let wasClosed = api.isClosed
    do throws(KeyRefusal) {
      issued = try api.keys.make(grant, ttlMS: ttlMS, isClosed: api.isClosed, by: context.origin)
    } catch {
      throw APIProblem(error)
    }
    if !wasClosed { api.accessChanged() }
    return try .created(KeyDocument(issued.record, text: issued.text.text), at: "/v1/keys/\(issued.record.id)")
  }

  private static func get(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let id = context.parameters.name
    guard let key = api.keys.key(id), context.principal.sees(key.principal.tenant) else { throw .noSuchKey(id) }
    return try .json(KeyDocument(key.record))
  }

  private static func revoke(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    do throws(KeyRefusal) {
      try api.keys.revoke(context.parameters.name, by: context.origin)
    } catch {
      throw APIProblem(error)
    }
    return .noContent
  }

  // MARK: What a document asks for

  private static func grant(_ document: CreateKeyDocument, by maker: Principal) throws(APIProblem) -> KeyGrant {
    var tenant = maker.tenant
    if let name = document.tenant {
      guard let named = Tenant(name) else {
        throw .invalid("/tenant", "\"\(name.clipped())\" is no tenant's name; give \(PoolRules.nameRule).")
      }
      tenant = named
    }
    let scopes = try scopes(document.scopes)
    let note = document.note ?? ""
    guard note.utf8.count <= 256 else {
      throw .invalid("/note", "The note has \(note.utf8.count) bytes; give at most 256.")
    }
    return KeyGrant(
      tenant: tenant, scopes: scopes, pools: try pools(document.pools, scopes), note: note,
      limits: try limits(document))
  }

  private static func scopes(_ names: [String]) throws(APIProblem) -> Scopes {
    let known = Scope.allCases.map(\.rawValue).joined(separator: ", ")
    guard !names.isEmpty else { throw .invalid("/scopes", "The key has no scope; give one at least of \(known).") }
    var scopes: Scopes = []
    for (place, name) in names.enumerated() {
      guard let scope = Scope(rawValue: name) else {
        throw .invalid("/scopes/\(place)", "There is no scope \"\(name.clipped())\"; give one of \(known).")
      }
      scopes.formUnion(Scopes(scope))
    }
    return scopes
  }

  private static func pools(_ names: [String]?, _ scopes: Scopes) throws(APIProblem) -> Set<String>? {
    guard let names else { return nil }
    guard (1...64).contains(names.count) else {
      throw .invalid("/pools", "There are \(names.count) pools; give 1 to 64, or leave them out.")
    }
    if let place = names.firstIndex(where: { !PoolRules.isName($0) }) {
      throw .invalid(
        "/pools/\(place)", "\"\(names[place].clipped())\" is no pool's name; give \(PoolRules.nameRule).")
    }
    guard !scopes.contains(.admin) else {
      throw .invalid("/pools", "A key with the scope admin may use all pools; leave out pools, or the scope.")
    }
    return Set(names)
  }

  private static func limits(_ document: CreateKeyDocument) throws(APIProblem) -> KeyLimits {
    func checked(_ value: Int?, to most: Int, _ pointer: String) throws(APIProblem) -> Int? {
      guard let value else { return nil }
      return try ManagementAPI.checked(value, default: 1, in: 1...most, at: pointer)
    }
    guard document.burst == nil || document.rate != nil else {
      throw .invalid("/burst", "A burst is a part of a rate; give rate, too.")
    }
    return KeyLimits(
      rate: try checked(document.rate, to: 1_000_000, "/rate"),
      burst: try checked(document.burst, to: 1_000_000, "/burst"),
      concurrency: try checked(document.concurrency, to: 65_536, "/concurrency"))
  }
}

extension KeyDocument {
  fileprivate init(_ record: KeyRecord, text: String? = nil) {
    func time(_ ms: Int?) -> String? { ms.map { RFC3339.text(milliseconds: Int64($0)) } }
    let (grant, limits) = (record.grant, record.grant.limits)
    self.init(
      id: record.id, key: text, tenant: grant.tenant.name, scopes: grant.scopes.all.map(\.rawValue),
      pools: grant.pools?.sorted(), note: grant.note, rate: limits.rate, burst: limits.burst,
      concurrency: limits.concurrency, createdAt: RFC3339.text(milliseconds: Int64(record.createdAtMS)),
      expiresAt: time(record.expiresAtMS), revokedAt: time(record.revokedAtMS), lastUsedAt: time(record.lastUsedAtMS))
  }
}
