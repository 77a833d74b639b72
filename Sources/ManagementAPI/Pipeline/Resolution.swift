import APIModel
import Access
import PoolManager

// Names and tenants: what a client's words mean. Nothing else in the API asks whose a thing is.

extension Context {
  /// Whose things the request makes and names: the principal's own tenant, or the one that an operator says.
  var tenant: Tenant { chosen ?? principal.tenant }

  /// Which things are there for it: an operator sees all unless it says a tenant.
  var viewer: Viewer {
    Viewer(tenant: chosen ?? (principal.isOperator ? nil : principal.tenant), pools: principal.pools)
  }

  /// The tenant that the query names. It has the form of one, and the principal may name it, since `admit` has checked that.
  private var chosen: Tenant? { query.text("tenant").flatMap(Tenant.init) }

  /// Refuses a tenant that the principal may not name. The answer is the same whether or not there is such a tenant.
  func checkTenant() throws(APIProblem) {
    guard let tenant = try query.tenant("tenant") else { return }
    guard principal.sees(tenant) else {
      throw APIProblem(
        .scopeMissing, "The query parameter tenant names another tenant than yours; that needs the scope admin.")
    }
  }

  /// What an idempotency key belongs to: keys are a tenant's. Those of the default tenant are as they were before there were others.
  /// A principal that is bound to pools has its own, since a kept answer may be about another pool.
  var idempotencyScope: String {
    let request = "\(head.method) \(head.rawPath)"
    return tenant.qualified(principal.pools == nil ? request : "\(principal.id) \(request)")
  }

  /// How the server calls the image or the pool that the path names, of the request's own tenant.
  var qualifiedName: String { tenant.qualified(parameters.name) }

  /// Refuses blobs to all tenants but the default one. A blob is found by its hash alone, so another tenant would learn which
  /// bytes others have. An image that is sent as a whole needs none.
  func checkBlobs() throws(APIProblem) {
    guard tenant == .standard else {
      throw APIProblem(
        .scopeMissing,
        "Blobs, and images that are made of them, are the default tenant's alone; send the image itself with PUT "
          + "/v1/images/{image}.")
    }
  }

  /// Where a thing of that name is found again, with the tenant that the query says.
  func location(_ path: String) -> String { path + (chosen.map { "?tenant=\($0)" } ?? "") }
}

extension APIHandler {
  /// The pool that the path names: one of the request's tenant, or else one that the default tenant shares. Where there is
  /// none, or the client may not use it, the answer is the same.
  func pool(_ context: Context) throws(APIProblem) -> PoolStatus {
    let name = context.parameters.name
    guard let pool = find(name, context) else { throw .noSuchPool(name) }
    return pool
  }

  /// The same, where the client may change it: one of the request's tenant.
  func ownPool(_ context: Context) throws(APIProblem) -> PoolStatus {
    let pool = try pool(context)
    guard pool.tenant == context.tenant else { throw .noSuchPool(context.parameters.name) }
    return pool
  }

  /// How the server calls the pool that the query names; nil where it names none.
  func queriedPool(_ context: Context) throws(APIProblem) -> String? {
    guard let name = try context.query.resourceName("pool") else { return nil }
    return find(name, context)?.name ?? context.tenant.qualified(name)
  }

  private func find(_ name: String, _ context: Context) -> PoolStatus? {
    guard context.viewer.admits(pool: name) else { return nil }
    if let own = try? fleet.pool(context.tenant.qualified(name)) { return own }
    guard let shared = try? fleet.pool(name), shared.specification.isShared else { return nil }
    return shared
  }

  /// The lease that the path names. What became of it where it has ended, and was the client's.
  func lease(_ context: Context) throws(APIProblem) -> Lease {
    let id = context.parameters.lease
    guard let lease = fleet.lease(id, for: context.viewer) else { throw try ended(context) }
    return lease
  }
}

extension APIProblem {
  static func noSuchPool(_ name: String) -> APIProblem {
    APIProblem(.poolNotFound, "There is no pool \(name.clipped()); GET /v1/pools lists them.")
  }
}
