extension StateDatabase {
  /// Appends an entry by itself, for an action that changes nothing else here.
  public func append(_ entry: AuditEntry) throws(StateStoreError) {
    try write(entry) { _ throws(StateStoreError) in }
  }

  /// Entries with a sequence above `after`, oldest first, at most `limit` of them. Those that were pruned are left out.
  public func audit(after: Int, limit: Int) throws(StateStoreError) -> [AuditRecord] {
    try read { (connection: inout SQLiteConnection) throws(StateStoreError) in
      try connection.audit(
        """
        SELECT sequence, who, action, subject, request_id, at_ms, detail, tenant, lease FROM audit
        WHERE sequence > ? ORDER BY sequence LIMIT ?
        """, [.int(after), .int(max(limit, 0))], leaseNames)
    }
  }

  /// Entries that pass the filter, with a sequence below `before`, latest first, at most `limit` of them.
  ///
  /// Where there is a file, it reads on a connection of its own: what changes the state does not wait for it. It may read all
  /// of the log from the disk.
  public func audit(
    _ filter: AuditFilter, before: Int = .max, limit: Int
  ) throws(StateStoreError) -> [AuditRecord] {
    let (sql, values) = filter.query(before: before, limit: limit, leaseNames)
    return try readAside { (connection: inout SQLiteConnection) throws(StateStoreError) in
      try connection.audit(sql, values, leaseNames)
    }
  }
}

/// Which entries of the audit log are meant: those that have all of it. A member that is nil does not count.
public struct AuditFilter: Sendable, Equatable {
  /// Whose the subject is.
  public var tenant: String?
  /// Who asked for it.
  public var who: String?
  /// The subject: an id, or a name with or without its tenant.
  public var subject: String?
  /// Unix milliseconds, included.
  public var sinceMS: Int?
  /// Unix milliseconds, not included.
  public var untilMS: Int?

  /// A filter.
  public init(
    tenant: String? = nil, who: String? = nil, subject: String? = nil, sinceMS: Int? = nil, untilMS: Int? = nil
  ) {
    self.tenant = tenant
    self.who = who
    self.subject = subject
    self.sinceMS = sinceMS
    self.untilMS = untilMS
  }

  /// The statement and its parameters.
  ///
  /// It has the conditions that count, and no others, so that an index leads to the rows. It reads both tables in order and stops
  /// at the limit. Over the view `audit`, SQLite would collect and sort all that passes.
  func query(before: Int, limit: Int, _ names: LeaseNames) -> (sql: String, values: [Value]) {
    let entries = conditions(
      before, time: "at_ms", subject: "(subject = ? OR subject = tenant || '/' || ?)"
    ) { [.text($0), .text($0)] }
    let grants = conditions(before, time: "granted_at_ms", subject: "id = ?") { [.int(names.number(of: $0))] }
    let sql = """
      SELECT sequence, who, action, subject, request_id, at_ms, detail, tenant, NULL FROM audit_entry WHERE \(entries.sql)
      UNION ALL
      SELECT sequence, who, 'lease.grant', NULL, request_id, granted_at_ms, NULL, tenant, id FROM lease WHERE \(grants.sql)
      ORDER BY sequence DESC LIMIT ?
      """
    return (sql, entries.values + grants.values + [.int(max(limit, 0))])
  }

  private func conditions(
    _ before: Int, time: String, subject isSubject: String, _ subjectValues: (String) -> [Value]
  ) -> (sql: String, values: [Value]) {
    let members: [(condition: String, values: [Value]?)] = [
      ("sequence < ?", [.int(before)]), ("tenant = ?", tenant.map { [.text($0)] }),
      ("who = ?", who.map { [.text($0)] }),
      (isSubject, subject.map(subjectValues)), ("\(time) >= ?", sinceMS.map { [.int($0)] }),
      ("\(time) < ?", untilMS.map { [.int($0)] }),
    ]
    let given = members.filter { $0.values != nil }
    return (given.map(\.condition).joined(separator: " AND "), given.flatMap { $0.values ?? [] })
  }
}

extension SQLiteConnection {
  /// What a statement with the columns of the view `audit` yields.
  fileprivate mutating func audit(
    _ sql: String, _ values: [Value], _ names: LeaseNames
  ) throws(StateStoreError) -> [AuditRecord] {
    var records: [AuditRecord] = []
    try execute(sql, values) { row throws(StateStoreError) in
      let entry = AuditEntry(
        who: row.text(1), tenant: row.text(7), action: row.text(2),
        subject: row.isNull(8) ? row.text(3) : names.id(of: row.int(8)), requestID: row.optionalText(4),
        atMS: row.int(5), detail: row.optionalText(6))
      records.append(AuditRecord(sequence: row.int(0), entry: entry))
    }
    return records
  }

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
