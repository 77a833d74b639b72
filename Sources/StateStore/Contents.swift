/// What the tables hold, kept in memory so that no change has to count rows.
struct Contents: Sendable, Equatable {
  /// The number of the latest entry of the audit log.
  var lastAudit = 0
  /// Bytes of `audit_entry`. Leases that are still there hold their grant's entry themselves.
  var auditBytes = 0
  /// Bytes of the leases that have ended.
  var endedLeaseBytes = 0
  /// Bytes of idempotency keys and the answers kept for them.
  var answerBytes = 0
}

/// The bytes that a row counts for in its table's budget: its text and blobs, and a round number for all else.
///
/// Each table has one sum in SQL, for rows that are there, and the same sum in Swift, for rows that are being written.
enum RowBytes {
  private static let overhead = 96

  static let auditSQL = sql("who", "action", "subject", "request_id", "detail", "tenant")
  static let leaseSQL = sql("pool", "vm", "labels", "end_detail", "who", "request_id", "tenant")
  static let answerSQL = sql("scope", "key", "fingerprint", "headers", "body")

  private static func sql(_ columns: String...) -> String {
    // length(blob) is the length in bytes, and the text is UTF-8 already.
    columns.map { "coalesce(length(CAST(\($0) AS BLOB)), 0)" }.joined(separator: " + ") + " + \(overhead)"
  }

  static func audit(_ entry: AuditEntry) -> Int {
    overhead + entry.who.utf8.count + entry.action.utf8.count + entry.subject.utf8.count
      + entry.tenant.utf8.count + (entry.requestID?.utf8.count ?? 0) + (entry.detail?.utf8.count ?? 0)
  }

  static func key(scope: String, key: String, fingerprint: [UInt8]) -> Int {
    overhead + scope.utf8.count + key.utf8.count + fingerprint.count
  }
}

extension SQLiteConnection {
  /// Reads what the tables hold, all of them once.
  mutating func countContents() throws(StateStoreError) {
    contents = Contents(
      lastAudit: try number("SELECT coalesce(max(sequence), 0) FROM audit"),
      auditBytes: try number("SELECT coalesce(sum(\(RowBytes.auditSQL)), 0) FROM audit_entry"),
      endedLeaseBytes: try number(
        "SELECT coalesce(sum(\(RowBytes.leaseSQL)), 0) FROM lease WHERE ended_at_ms IS NOT NULL"),
      answerBytes: try number("SELECT coalesce(sum(\(RowBytes.answerSQL)), 0) FROM idempotency"))
  }
}
