extension StateDatabase {
  /// The id of the lease of that number: a number is a lease's once, and later leases have higher ones.
  public func leaseID(_ number: UInt64) -> String { leaseNames.id(of: Int(Int64(bitPattern: number))) }

  /// Records that `lease` was granted. `recovered.highestFence` of each later process is at least its fence. So a fence that
  /// is handed out after this call is never handed out again. The audit log says who asked for it (see `AuditEntry`).
  public func recordLease(_ lease: StoredLease, by who: String, requestID: String?) throws(StateStoreError) {
    guard let number = leaseNames.number(of: lease.id) else { throw .conflict("\(lease.id) is no lease's id") }
    // One statement is a transaction by itself: the client waits for it.
    try change { (connection: inout SQLiteConnection) throws(StateStoreError) in
      try connection.run(
        "INSERT INTO lease VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", .int(number), .text(lease.pool),
        .text(lease.vm), .int(lease.fence), .text(lease.labels), .int(lease.grantedAtMS), .int(lease.expiresAtMS),
        .int(lease.maxExpiresAtMS), .int(lease.end?.atMS), .text(lease.end?.reason.rawValue), .text(lease.end?.detail),
        .int(connection.contents.lastAudit + 1), .text(who), .text(requestID),
        .text(lease.tenant))
      connection.contents.lastAudit += 1
    }
  }

  /// Records that the open lease `id` now ends at `expiresAtMS` (Unix milliseconds) unless it is extended again.
  /// Without an audit entry if there is none: heartbeats would drown the log.
  public func extendLease(id: String, expiresAtMS: Int, audit: AuditEntry?) throws(StateStoreError) {
    try write(audit) { (connection: inout SQLiteConnection) throws(StateStoreError) in
      try connection.run(
        "UPDATE lease SET expires_at_ms = ? WHERE id = ? AND ended_at_ms IS NULL", .int(expiresAtMS),
        .int(connection.leaseNames.number(of: id)))
      guard connection.changes == 1 else { throw .conflict("there is no open lease \(id) to extend") }
    }
  }

  /// Records that leases have ended, all in one transaction. Each is named with its end and its audit entry; those that
  /// are not open are left out, and returned.
  @discardableResult
  public func endLeases(
    _ ended: [(id: String, end: StoredLeaseEnd, audit: AuditEntry)]
  ) throws(StateStoreError) -> [String] {
    try write(nil) { (connection: inout SQLiteConnection) throws(StateStoreError) in
      var others: [String] = []
      for (id, end, audit) in ended where try !connection.end(id, end, audit) { others.append(id) }
      return others
    }
  }

  /// The lease `id`, open or ended; nil if there was none, or it ended longer ago than leases are kept.
  public func lease(id: String) throws(StateStoreError) -> StoredLease? {
    let lease = try read { (connection: inout SQLiteConnection) throws(StateStoreError) in
      try connection.rows("SELECT \(StoredLease.columns) FROM lease WHERE id = ?", .int(leaseNames.number(of: id))) {
        row throws(StateStoreError) in try StoredLease(row, leaseNames)
      }.first
    }
    guard let lease, lease.end == nil else { return lease }
    // That the start has lost it need not be on record yet.
    return recovered.lostLeases.first { $0.id == id } ?? lease
  }
}

extension SQLiteConnection {
  /// Ends the lease `id`, with its audit entry. False where it is not open.
  mutating func end(_ id: String, _ end: StoredLeaseEnd, _ audit: AuditEntry) throws(StateStoreError) -> Bool {
    let sizes = try rows(
      """
      UPDATE lease SET ended_at_ms = ?, end_reason = ?, end_detail = ? WHERE id = ? AND ended_at_ms IS NULL
      RETURNING \(RowBytes.leaseSQL)
      """, .int(end.atMS), .text(end.reason.rawValue), .text(end.detail), .int(leaseNames.number(of: id))
    ) { row throws(StateStoreError) in row.int(0) }
    guard let size = sizes.first else { return false }
    contents.endedLeaseBytes += size
    try append(audit)
    return true
  }
}

extension StoredLease {
  static let columns = """
    id, pool, vm, fence, labels, granted_at_ms, expires_at_ms, max_expires_at_ms, ended_at_ms, end_reason, end_detail,
    tenant
    """

  /// From a row of `columns`.
  init(_ row: borrowing Row, _ names: LeaseNames) throws(StateStoreError) {
    self.init(
      id: names.id(of: row.int(0)), tenant: row.text(11), pool: row.text(1), vm: row.text(2), fence: row.int(3),
      labels: row.text(4),
      grantedAtMS: row.int(5), expiresAtMS: row.int(6), maxExpiresAtMS: row.int(7))
    guard !row.isNull(8) else { return }
    guard let reason = StoredLeaseEnd.Reason(rawValue: row.text(9)) else {
      throw .conflict("the lease \(id) ended for a reason that this program does not know: \(row.text(9))")
    }
    end = StoredLeaseEnd(reason: reason, atMS: row.int(8), detail: row.optionalText(10))
  }
}
