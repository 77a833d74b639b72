extension StateDatabase {
  /// Forgets what is older, or more, than `limits` say. Between calls the state grows beyond them, so call it every
  /// minute or so. Works in small transactions: other calls do not wait for all of it.
  ///
  /// `nowMS`: Unix milliseconds.
  public func prune(nowMS: Int) throws(StateStoreError) {
    let before = nowMS - limits.retentionMS
    while try pruneLeases(endedBefore: before) {}
    // Those that are in progress are somebody's who waits.
    let keys = """
      DELETE FROM idempotency WHERE sequence IN (
        SELECT sequence FROM idempotency
        WHERE (at_ms <= ? OR sequence <= (SELECT max(sequence) FROM idempotency) - ?)
        AND NOT (status IS NULL AND epoch = ?) ORDER BY sequence LIMIT \(Self.chunk))
      """
    while try pruned(keys, .int(before), .int(limits.idempotencyKeys), .int(recovered.epoch)) {}
    let entries = """
      DELETE FROM audit_entry WHERE sequence IN (
        SELECT sequence FROM audit_entry WHERE sequence <= ? ORDER BY sequence LIMIT \(Self.chunk))
      """
    let lastAudit = try read { connection in connection.lastAudit }
    while try pruned(entries, .int(lastAudit - max(limits.auditEntries, 1))) {}
  }

  /// Rows deleted in one transaction.
  private static let chunk = 256

  private func pruned(_ sql: String, _ values: Value...) throws(StateStoreError) -> Bool {
    try write(nil) { (connection: inout Connection) throws(StateStoreError) in
      try connection.execute(sql, values) { _ throws(StateStoreError) in }
      return connection.changes == Self.chunk
    }
  }

  private func pruneLeases(endedBefore before: Int) throws(StateStoreError) -> Bool {
    try write(nil) { (connection: inout Connection) throws(StateStoreError) in
      let ended = try connection.number("SELECT count(*) FROM lease WHERE ended_at_ms IS NOT NULL")
      let pruned = try connection.rows(
        """
        DELETE FROM lease WHERE id IN (
          SELECT id FROM (SELECT id, ended_at_ms, row_number() OVER (ORDER BY ended_at_ms) AS place FROM lease
            WHERE ended_at_ms IS NOT NULL ORDER BY ended_at_ms LIMIT \(Self.chunk))
          WHERE ended_at_ms <= ? OR place <= ?)
        RETURNING fence, sequence, who, id, request_id, granted_at_ms
        """, .int(before), .int(ended - limits.endedLeases)
      ) { row throws(StateStoreError) in PrunedLease(row) }
      // What is highest must outlive the row, and so must its part of the audit log.
      try connection.run(
        "UPDATE meta SET value = max(value, ?) WHERE name = 'fence'", .int(pruned.map(\.fence).max() ?? 0))
      for case let grant? in pruned.map(\.grant) { try connection.insert(grant) }
      return pruned.count == Self.chunk
    }
  }

  private struct PrunedLease {
    let fence: Int
    /// Nil for a lease of an earlier schema, whose entry is where all others are.
    let grant: AuditRecord?

    init(_ row: borrowing Row) {
      fence = row.int(0)
      guard !row.isNull(1) else {
        grant = nil
        return
      }
      let entry = AuditEntry(
        who: row.text(2), action: "lease.grant", subject: StoredLease.id(of: row.int(3)),
        requestID: row.optionalText(4), atMS: row.int(5))
      grant = AuditRecord(sequence: row.int(1), entry: entry)
    }
  }
}
