extension Recovered {
  /// Reads what the last process left, whose open leases are lost. `nowMS`: when, in Unix milliseconds. Writes nothing.
  init(_ connection: inout SQLiteConnection, _ nowMS: Int) throws(StateStoreError) {
    let names = connection.leaseNames
    let end = StoredLeaseEnd(reason: .lost, atMS: nowMS, detail: "The server ended before the lease did.")
    self.init(
      pools: try connection.rows("SELECT name, document, revision FROM pool ORDER BY name") {
        row throws(StateStoreError) in
        StoredPool(name: row.text(0), document: row.blob(1), revision: row.int(2))
      },
      images: try connection.rows("SELECT name, kind, manifest, created_at_ms FROM image ORDER BY name") {
        row throws(StateStoreError) in
        StoredImage(name: row.text(0), kind: row.text(1), manifest: row.blob(2), createdAtMS: row.int(3))
      },
      keys: try connection.keys(),
      lostLeases: try connection.rows(
        "SELECT \(StoredLease.columns) FROM lease WHERE ended_at_ms IS NULL ORDER BY fence"
      ) { row throws(StateStoreError) in
        var lease = try StoredLease(row, names)
        lease.end = end
        return lease
      },
      highestFence: try connection.number(
        "SELECT max(value, (SELECT coalesce(max(fence), 0) FROM lease)) FROM meta WHERE name = 'fence'"),
      highestRevision: try connection.number(
        "SELECT max(value, (SELECT coalesce(max(revision), 0) FROM pool)) FROM meta WHERE name = 'revision'"),
      epoch: try connection.number("SELECT value + 1 FROM meta WHERE name = 'epoch'"))
  }

  /// Records the start: a new epoch, in which the leases that were left open are lost.
  func record(_ connection: inout SQLiteConnection) throws(StateStoreError) {
    try connection.transaction { (connection: inout SQLiteConnection) throws(StateStoreError) in
      try connection.run("UPDATE meta SET value = ? WHERE name = 'epoch'", .int(epoch))
      for lease in lostLeases {
        guard let end = lease.end else { continue }
        let audit = AuditEntry(
          who: "vmpoold", tenant: lease.tenant, action: "lease.lost", subject: lease.id, atMS: end.atMS)
        _ = try connection.end(lease.id, end, audit)
      }
    }
  }
}
