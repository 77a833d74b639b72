extension Recovered {
  /// Begins a new epoch: ends the leases that the last process left open, and reads what else it left.
  init(_ connection: inout SQLiteConnection, _ nowMS: Int) throws(StateStoreError) {
    // Its entries are numbered from here on. The bytes are counted below, when the lost leases have ended.
    connection.contents.lastAudit = try connection.number("SELECT coalesce(max(sequence), 0) FROM audit")
    self = try connection.transaction { (connection: inout SQLiteConnection) throws(StateStoreError) in
      try connection.run("UPDATE meta SET value = value + 1 WHERE name = 'epoch'")
      let epoch = try connection.number("SELECT value FROM meta WHERE name = 'epoch'")
      let lost = try connection.rows(
        """
        UPDATE lease SET ended_at_ms = ?, end_reason = 'lost', end_detail = 'The server ended before the lease did.'
        WHERE ended_at_ms IS NULL RETURNING \(StoredLease.columns)
        """, .int(nowMS)
      ) { row throws(StateStoreError) in try StoredLease(row) }
      for lease in lost {
        try connection.append(AuditEntry(who: "vmpoold", action: "lease.lost", subject: lease.id, atMS: nowMS))
      }
      return Recovered(
        pools: try connection.rows("SELECT name, document, revision FROM pool ORDER BY name") {
          row throws(StateStoreError) in
          StoredPool(name: row.text(0), document: row.blob(1), revision: row.int(2))
        },
        images: try connection.rows("SELECT name, kind, manifest, created_at_ms FROM image ORDER BY name") {
          row throws(StateStoreError) in
          StoredImage(name: row.text(0), kind: row.text(1), manifest: row.blob(2), createdAtMS: row.int(3))
        },
        lostLeases: lost.sorted { $0.fence < $1.fence },
        highestFence: try connection.number(
          "SELECT max(value, (SELECT coalesce(max(fence), 0) FROM lease)) FROM meta WHERE name = 'fence'"),
        highestRevision: try connection.number(
          "SELECT max(value, (SELECT coalesce(max(revision), 0) FROM pool)) FROM meta WHERE name = 'revision'"),
        epoch: epoch)
    }
    try connection.countContents()
  }
}
