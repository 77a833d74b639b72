extension StateDatabase {
  /// Declares the pool `name`, or changes its declaration.
  ///
  /// `document` is the caller's own encoding. `revision` must be higher than the one the pool has. Begin above
  /// `recovered.highestRevision` and count up: then a revision never comes back, also when a pool is deleted and made again.
  public func putPool(
    name: String, document: [UInt8], revision: Int, audit: AuditEntry
  ) throws(StateStoreError) {
    try write(audit) { (connection: inout SQLiteConnection) throws(StateStoreError) in
      try connection.run(
        """
        INSERT INTO pool VALUES(?, ?, ?) ON CONFLICT(name) DO
        UPDATE SET document = excluded.document, revision = excluded.revision WHERE excluded.revision > revision
        """, .text(name), .blob(document), .int(revision))
      guard connection.changes == 1 else {
        throw .conflict("the pool \(name) has revision \(revision) or a later one already")
      }
    }
  }

  /// Forgets the pool `name`.
  public func deletePool(name: String, audit: AuditEntry) throws(StateStoreError) {
    try write(audit) { (connection: inout SQLiteConnection) throws(StateStoreError) in
      let revisions = try connection.rows("DELETE FROM pool WHERE name = ? RETURNING revision", .text(name)) {
        row throws(StateStoreError) in row.int(0)
      }
      guard let revision = revisions.first else { throw .conflict("there is no pool \(name)") }
      try connection.run("UPDATE meta SET value = max(value, ?) WHERE name = 'revision'", .int(revision))
    }
  }
}
