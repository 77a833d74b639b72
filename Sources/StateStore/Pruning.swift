extension StateDatabase {
  /// Deletes rows that are older than `limits` allow, and the oldest of those that are too many. The numbers and ages hold after each call, so call it every
  /// minute or so; the budgets in bytes hold after every change. Works in small transactions: other calls do not wait
  /// for all of it.
  ///
  /// `nowMS`: Unix milliseconds.
  public func prune(nowMS: Int) throws(StateStoreError) {
    let before = nowMS - limits.retentionMS
    try inChunks { (connection, limits, _) throws(StateStoreError) in
      try connection.pruneLeases(endedBefore: before, keeping: limits.endedLeases, atMost: Self.chunk)
    }
    try inChunks { (connection, limits, epoch) throws(StateStoreError) in
      try connection.pruneAnswers(before: before, keeping: limits.idempotencyKeys, epoch: epoch, atMost: Self.chunk)
    }
    try inChunks { (connection, limits, _) throws(StateStoreError) in
      try connection.pruneAudit(keeping: limits.auditEntries, atMost: Self.chunk)
    }
  }

  /// Rows deleted in one transaction.
  private static let chunk = 256
  private func inChunks(
    _ delete: (inout SQLiteConnection, StateLimits, _ epoch: Int) throws(StateStoreError) -> Int
  ) throws(StateStoreError) {
    var deleted: Int
    repeat {
      deleted = try write(nil) { (connection: inout SQLiteConnection) throws(StateStoreError) in
        try delete(&connection, limits, recovered.epoch)
      }
    } while deleted == Self.chunk
  }
}

extension Contents {
  fileprivate func exceeds(_ limits: StateLimits) -> Bool {
    endedLeaseBytes > limits.endedLeaseBytes || answerBytes > limits.answerBytes || auditBytes > limits.auditBytes
  }
}

extension SQLiteConnection {
  /// Forgets the oldest rows of each table that holds more bytes than its budget, `step` rows at a time.
  mutating func keepBudgets(_ limits: StateLimits, epoch: Int, step: Int) throws(StateStoreError) {
    guard contents.exceeds(limits) else { return }
    try transaction { (connection: inout SQLiteConnection) throws(StateStoreError) in
      while connection.contents.endedLeaseBytes > limits.endedLeaseBytes,
        try connection.pruneLeases(endedBefore: .min, keeping: 0, atMost: step) > 0
      {}
      while connection.contents.answerBytes > limits.answerBytes,
        try connection.pruneAnswers(before: .min, keeping: 0, epoch: epoch, atMost: step) > 0
      {}
      // Last, since a lease that is forgotten leaves its grant's entry to the audit log.
      while connection.contents.auditBytes > limits.auditBytes,
        try connection.pruneAudit(keeping: 1, atMost: step) > 0
      {}
    }
  }

  /// Deletes the oldest audit entries but the latest `keeping`; at least one stays, because it carries the number.
  mutating func pruneAudit(keeping: Int, atMost most: Int) throws(StateStoreError) -> Int {
    let sizes = try rows(
      """
      DELETE FROM audit_entry WHERE sequence IN (
        SELECT sequence FROM audit_entry WHERE sequence <= ? ORDER BY sequence LIMIT ?)
      RETURNING \(RowBytes.auditSQL)
      """, .int(contents.lastAudit - max(keeping, 1)), .int(most)
    ) { row throws(StateStoreError) in row.int(0) }
    contents.auditBytes -= sizes.reduce(0, +)
    return sizes.count
  }

  /// Deletes keys that came until `before`, and the oldest but the latest `keeping`. A key of this `epoch` that has no
  /// answer yet stays: its client waits.
  mutating func pruneAnswers(
    before: Int, keeping: Int, epoch: Int, atMost most: Int
  ) throws(StateStoreError) -> Int {
    try deleteAnswers(
      """
      WHERE sequence IN (
        SELECT sequence FROM idempotency
        WHERE (at_ms <= ? OR sequence <= (SELECT max(sequence) FROM idempotency) - ?)
        AND NOT (status IS NULL AND epoch = ?) ORDER BY sequence LIMIT ?)
      """, .int(before), .int(keeping), .int(epoch), .int(most))
  }

  /// Deletes leases that ended until `before`, and those that ended first but the latest `keeping`.
  mutating func pruneLeases(
    endedBefore before: Int, keeping: Int, atMost most: Int
  ) throws(StateStoreError) -> Int {
    let ended = try number("SELECT count(*) FROM lease WHERE ended_at_ms IS NOT NULL")
    let names = leaseNames
    let pruned = try rows(
      """
      DELETE FROM lease WHERE id IN (
        SELECT id FROM (SELECT id, ended_at_ms, row_number() OVER (ORDER BY ended_at_ms) AS place FROM lease
          WHERE ended_at_ms IS NOT NULL ORDER BY ended_at_ms LIMIT ?)
        WHERE ended_at_ms <= ? OR place <= ?)
      RETURNING fence, sequence, who, id, request_id, granted_at_ms, \(RowBytes.leaseSQL), tenant
      """, .int(most), .int(before), .int(ended - keeping)
    ) { row throws(StateStoreError) in PrunedLease(row, names) }
    contents.endedLeaseBytes -= pruned.reduce(0) { $0 + $1.bytes }
    // The highest fence must outlive its row, and so must the row's part of the audit log.
    try run("UPDATE meta SET value = max(value, ?) WHERE name = 'fence'", .int(pruned.map(\.fence).max() ?? 0))
    for case let grant? in pruned.map(\.grant) { try insert(grant) }
    return pruned.count
  }
}

private struct PrunedLease {
  let fence: Int
  /// Nil for a lease of an earlier schema, whose entry stands in the audit log's own table.
  let grant: AuditRecord?
  let bytes: Int

  init(_ row: borrowing Row, _ names: LeaseNames) {
    fence = row.int(0)
    bytes = row.int(6)
    guard !row.isNull(1) else {
      grant = nil
      return
    }
    let entry = AuditEntry(
      who: row.text(2), tenant: row.text(7), action: "lease.grant", subject: names.id(of: row.int(3)),
      requestID: row.optionalText(4), atMS: row.int(5))
    grant = AuditRecord(sequence: row.int(1), entry: entry)
  }
}
