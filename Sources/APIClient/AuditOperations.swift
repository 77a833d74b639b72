import APIModel

extension VMPoolClient {
  /// `GET /v1/audit`, as many pages as `most` entries take, the latest first. Times are of RFC 3339; nil leaves a filter out.
  public func audit(
    since: String? = nil, until: String? = nil, tenant: String? = nil, subject: String? = nil, who: String? = nil,
    most: Int
  ) throws(APIError) -> [AuditEntryDocument] {
    let filters = [("since", since), ("until", until), ("tenant", tenant), ("subject", subject), ("who", who)]
    return try pages("/v1/audit", query: filters.flatMap { [HTTPField].optional($0, $1) }, most: most)
  }
}
