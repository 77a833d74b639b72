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
      DELETE FROM audit WHERE sequence IN (
        SELECT sequence FROM audit WHERE sequence <= (SELECT max(sequence) FROM audit) - ?
        ORDER BY sequence LIMIT \(Self.chunk))
      """
    while try pruned(entries, .int(max(limits.auditEntries, 1))) {}
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
      let fences = try connection.rows(
        """
        DELETE FROM lease WHERE id IN (
          SELECT id FROM (SELECT id, ended_at_ms, row_number() OVER (ORDER BY ended_at_ms) AS place FROM lease
            WHERE ended_at_ms IS NOT NULL ORDER BY ended_at_ms LIMIT \(Self.chunk))
          WHERE ended_at_ms <= ? OR place <= ?)
        RETURNING fence
        """, .int(before), .int(ended - limits.endedLeases)
      ) { row throws(StateStoreError) in row.int(0) }
      // What is highest must outlive the row.
      try connection.run("UPDATE meta SET value = max(value, ?) WHERE name = 'fence'", .int(fences.max() ?? 0))
      return fences.count == Self.chunk
    }
  }
}
