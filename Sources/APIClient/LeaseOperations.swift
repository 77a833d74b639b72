import APIModel

extension VMPoolClient {
  /// `POST /v1/pools/{pool}/leases`: a VM of the pool, for a time. `/problems/pool-exhausted` where none was ready and
  /// none became so within `waitMS`.
  public func lease(
    from pool: String, _ request: LeaseRequestDocument = LeaseRequestDocument(), idempotencyKey: String? = nil
  ) throws(APIError) -> LeaseDocument {
    try document(
      "POST", poolPath(pool, "/leases"), headers: .optional("Idempotency-Key", idempotencyKey),
      body: try encoded(request), longer: .milliseconds(request.waitMS ?? 0))
  }

  /// `GET /v1/leases`, every page; only those of the pool and of the tenant, where given.
  public func leases(pool: String? = nil, tenant: String? = nil) throws(APIError) -> [LeaseDocument] {
    try allPages("/v1/leases", query: .optional("pool", pool) + .optional("tenant", tenant))
  }

  /// `GET /v1/leases/{lease}`. One that has ended is a problem with status 410, whose type says how it ended.
  public func lease(_ id: String) throws(APIError) -> LeaseDocument { try document("GET", leasePath(id)) }

  /// `PATCH /v1/leases/{lease}`: lets it last for `ttlMS` from now, or as long as it may; the server's own default when
  /// nil.
  public func extendLease(_ id: String, ttlMS: Int? = nil, shorten: Bool? = nil) throws(APIError) -> LeaseDocument {
    try document("PATCH", leasePath(id), body: try encoded(ExtendLeaseDocument(ttlMS: ttlMS, shorten: shorten)))
  }

  /// `DELETE /v1/leases/{lease}`; one that was released before is no problem.
  public func releaseLease(_ id: String) throws(APIError) { _ = try checked("DELETE", leasePath(id)) }

  /// `POST /v1/pools/{pool}/run`: runs one of the pool's VMs to its end, in one call.
  public func run(
    in pool: String, _ request: RunRequestDocument = RunRequestDocument(), idempotencyKey: String? = nil
  ) throws(APIError) -> RunDocument {
    // Ten seconds are what the server gives a guest where nothing else is said.
    let limit = (request.deadlineMS ?? 10_000) + (request.waitMS ?? 0)
    return try document(
      "POST", poolPath(pool, "/run"), headers: .optional("Idempotency-Key", idempotencyKey),
      body: try encoded(request), longer: .milliseconds(limit))
  }

  private func leasePath(_ id: String) -> String { "/v1/leases/\(PercentEncoding.encoded(id))" }
}
