import APIModel
import Access
import HTTPServer
import LinuxSupport
import StateStore

/// `/v1/audit`.
enum AuditRoutes {
  static let routes = [
    Route(
      method: .get, template: "/v1/audit", operationID: "listAudit", scope: .read,
      query: ["since", "until", "subject", "who", "limit", "page_token"], operation: list)
  ]

  /// The latest first. A page goes to a worker, since it may read all of the log from the disk.
  private static func list(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    guard context.principal.pools == nil else {
      throw APIProblem(
        .scopeMissing, "The audit log names all pools of a tenant; use a key that is not bound to some of them.")
    }
    let query = context.query
    let filter = AuditFilter(
      tenant: context.viewer.tenant?.name, who: try query.phrase("who"), subject: try query.phrase("subject"),
      sinceMS: try query.time("since"), untilMS: try query.time("until"))
    let before = try query.integer("page_token", in: 1...Int64.max).map { Int($0) } ?? .max
    let limit = try query.pageLimit()
    let state = api.state
    let records = try await api.working(on: api.auditors) { () throws(APIProblem) in
      do throws(StateStoreError) {
        // One more than the page has says whether there is a next one.
        return try state.audit(filter, before: before, limit: limit + 1)
      } catch {
        throw APIProblem(.storageFailed, "The audit log cannot be read: \(error).")
      }
    }
    let items = records.prefix(limit)
    let next = records.count > limit ? items.last.map { "\($0.sequence)" } : nil
    return try .json(Page(items: items.map { AuditEntryDocument($0) }, nextPageToken: next))
  }
}

extension AuditEntryDocument {
  fileprivate init(_ record: AuditRecord) {
    let entry = record.entry
    let prefix = entry.tenant + "/"
    self.init(
      id: record.sequence, at: RFC3339.text(milliseconds: Int64(entry.atMS)), who: entry.who, tenant: entry.tenant,
      action: entry.action,
      subject: entry.subject.hasPrefix(prefix) ? String(entry.subject.dropFirst(prefix.count)) : entry.subject,
      result: entry.action == RefusedAttempts.action ? "refused" : "done", requestID: entry.requestID,
      detail: entry.detail)
  }
}
