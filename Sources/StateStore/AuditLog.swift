extension StateDatabase {
  /// Appends an entry by itself, for an action that changes nothing else here.
  public func append(_ entry: AuditEntry) throws(StateStoreError) {
    try write(entry) { _ throws(StateStoreError) in }
  }

  /// Entries with a sequence above `after`, oldest first, at most `limit` of them. Those that were pruned are left out.
  public func audit(after: Int, limit: Int) throws(StateStoreError) -> [AuditRecord] {
    try read { (connection: inout SQLiteConnection) throws(StateStoreError) in
      try connection.rows(
        """
        SELECT sequence, who, action, subject, request_id, at_ms, detail, tenant, lease FROM audit
        WHERE sequence > ? ORDER BY sequence LIMIT ?
        """, .int(after), .int(max(limit, 0))
      ) { row throws(StateStoreError) in
        let entry = AuditEntry(
          who: row.text(1), tenant: row.text(7), action: row.text(2),
          subject: row.isNull(8) ? row.text(3) : leaseNames.id(of: row.int(8)), requestID: row.optionalText(4),
          atMS: row.int(5), detail: row.optionalText(6))
        return AuditRecord(sequence: row.int(0), entry: entry)
      }
    }
  }
}

extension SQLiteConnection {
  /// Appends to the audit log, in the transaction that is open.
  mutating func append(_ entry: AuditEntry) throws(StateStoreError) {
    contents.lastAudit += 1
    try insert(AuditRecord(sequence: contents.lastAudit, entry: entry))
  }

  /// Inserts an entry under its own number.
  mutating func insert(_ record: AuditRecord) throws(StateStoreError) {
    let entry = record.entry
    try run(
      "INSERT INTO audit_entry VALUES(?, ?, ?, ?, ?, ?, ?, ?)", .int(record.sequence), .text(entry.who),
      .text(entry.action), .text(entry.subject), .text(entry.requestID), .int(entry.atMS), .text(entry.detail),
      .text(entry.tenant))
    contents.auditBytes += RowBytes.audit(entry)
  }
}
