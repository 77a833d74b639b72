/// An entry of the audit log.
public struct AuditEntryDocument: Codable, Sendable, Equatable {
  /// Grows by one with each entry.
  public var id: Int
  /// RFC 3339, UTC.
  public var at: String
  /// A key's id, `uid 1000`, a certificate's subject, an address, or `server`.
  public var who: String
  /// Whose the subject is; of a refused attempt, whose client it was.
  public var tenant: String
  /// What was done, such as `lease.grant`; `refused` for an attempt.
  public var action: String
  /// To what: a name or an id. Of a refused attempt, the method and the path's template.
  public var subject: String
  /// `done` or `refused`.
  public var result: String
  /// The request that asked for it; nil where there was none.
  public var requestID: String?
  /// More about it, as JSON text.
  public var detail: String?

  /// An entry.
  public init(
    id: Int, at: String, who: String, tenant: String, action: String, subject: String, result: String,
    requestID: String? = nil, detail: String? = nil
  ) {
    self.id = id
    self.at = at
    self.who = who
    self.tenant = tenant
    self.action = action
    self.subject = subject
    self.result = result
    self.requestID = requestID
    self.detail = detail
  }

  enum CodingKeys: String, CodingKey {
    case id, at, who, tenant, action, subject, result
    case requestID = "request_id"
    case detail
  }
}
