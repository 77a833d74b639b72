import APIModel

extension VMPoolClient {
  /// `POST /v1/keys`: a new key. `key` of the answer is its text, which no other answer has.
  ///
  /// It takes no idempotency key: the server would have to keep its answer, and the key with it. Where the answer is lost,
  /// revoke what was made, and make another.
  public func createKey(_ request: CreateKeyDocument) throws(APIError) -> KeyDocument {
    try document("POST", "/v1/keys", body: try encoded(request))
  }

  /// `GET /v1/keys`, every page; only those of the tenant, where given.
  public func keys(tenant: String? = nil) throws(APIError) -> [KeyDocument] {
    try allPages("/v1/keys", query: .optional("tenant", tenant))
  }

  /// `GET /v1/keys/{key_id}`.
  public func key(_ id: String) throws(APIError) -> KeyDocument { try document("GET", keyPath(id)) }

  /// `DELETE /v1/keys/{key_id}`: revokes the key; one that was revoked before is no problem.
  public func revokeKey(_ id: String) throws(APIError) { _ = try checked("DELETE", keyPath(id)) }

  private func keyPath(_ id: String) -> String { "/v1/keys/\(PercentEncoding.encoded(id))" }
}
