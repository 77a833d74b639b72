import APIModel

extension VMPoolClient {
  /// What a change of a pool depends upon.
  public enum PoolCondition: Sendable, Equatable {
    /// Nothing.
    case none
    /// Its declaration is still that of this ETag; else `/problems/precondition-failed`.
    case unchanged(since: String)
    /// There is no such pool; else `/problems/precondition-failed`.
    case absent

    fileprivate var headers: [HTTPField] {
      switch self {
      case .none: []
      case .unchanged(let tag): [HTTPField("If-Match", tag)]
      case .absent: [HTTPField("If-None-Match", "*")]
      }
    }
  }

  /// `GET /v1/pools`, every page; only those of the tenant, where given.
  public func pools(tenant: String? = nil) throws(APIError) -> [PoolDocument] {
    try allPages("/v1/pools", query: .optional("tenant", tenant))
  }

  /// `GET /v1/pools/{pool}`, of the tenant, where given.
  public func pool(_ name: String, tenant: String? = nil) throws(APIError) -> PoolDocument {
    try taggedPool(name, tenant: tenant).pool
  }

  /// `GET /v1/pools/{pool}`, and the ETag of its declaration; nil where it has none any more, being deleted.
  public func taggedPool(
    _ name: String, tenant: String? = nil
  ) throws(APIError) -> (pool: PoolDocument, tag: String?) {
    let response = try checked("GET", poolPath(name), query: .optional("tenant", tenant))
    return (try decoded(response, "GET \(poolPath(name))"), response.header("ETag"))
  }

  /// `PUT /v1/pools/{pool}`: a new pool, or a new declaration of one.
  public func putPool(
    _ name: String, declaration: DeclarePoolDocument, if condition: PoolCondition = .none
  ) throws(APIError) -> PoolDocument {
    try document("PUT", poolPath(name), headers: condition.headers, body: try encoded(declaration))
  }

  /// Whether the server takes a declaration: throws its refusal, and changes nothing.
  ///
  /// It is a `PUT` whose condition never holds. The server looks at the condition last (RFC 9110, 13.2.1), and a weak tag is
  /// no match for `If-Match` (13.1.1). What the server only finds out when it declares a pool, it does not say here.
  public func checkPool(_ name: String, declaration: DeclarePoolDocument) throws(APIError) {
    do {
      _ = try putPool(name, declaration: declaration, if: .unchanged(since: "W/\"check\""))
    } catch .problem(let problem) where problem.type == "/problems/precondition-failed" {
      return
    }
    throw .protocolViolation("\(endpoint) passed over If-Match, and declared the pool \(name)")
  }

  /// `PATCH /v1/pools/{pool}`: changes some members of its declaration.
  public func patchPool(
    _ name: String, changes: PoolChanges, if condition: PoolCondition = .none
  ) throws(APIError) -> PoolDocument {
    try document(
      "PATCH", poolPath(name), headers: condition.headers, contentType: "application/merge-patch+json",
      body: try encoded(changes))
  }

  /// `DELETE /v1/pools/{pool}`, with all its VMs; `force` ends its leases, too. Without it, the pool as it waits for
  /// their end; nil when it is gone.
  @discardableResult
  public func deletePool(
    _ name: String, force: Bool = false, if condition: PoolCondition = .none
  ) throws(APIError) -> PoolDocument? {
    let query = force ? [HTTPField("force", "true")] : []
    let response = try checked("DELETE", poolPath(name), query: query, headers: condition.headers)
    if response.status != 202 { return nil }
    return try decoded(response, "DELETE \(poolPath(name))")
  }

  func poolPath(_ name: String, _ rest: String = "") -> String { "/v1/pools/\(PercentEncoding.encoded(name))\(rest)" }
}
