import Access

extension StateDatabase {
  /// Stores a key that was made. Where there is no room for one more, `forgetting` is the id of one that has ended.
  public func insertKey(_ key: KeyRecord, forgetting id: String? = nil, audit: AuditEntry) throws(StateStoreError) {
    let (grant, limits) = (key.grant, key.grant.limits)
    try write(audit) { (connection: inout SQLiteConnection) throws(StateStoreError) in
      if let id { try connection.run("DELETE FROM key WHERE id = ?", .text(id)) }
      try connection.run(
        "INSERT INTO key VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", .text(key.id), .blob(key.hash.bytes),
        .text(grant.tenant.name), .text(grant.scopes.all.map(\.rawValue).joined(separator: ",")),
        .text(grant.pools?.sorted().joined(separator: ",")), .int(key.createdAtMS), .int(key.expiresAtMS),
        .int(key.revokedAtMS), .int(key.lastUsedAtMS), .text(grant.note), .int(limits.rate), .int(limits.burst),
        .int(limits.concurrency))
    }
  }

  /// Marks a key as revoked.
  public func revokeKey(id: String, atMS: Int, audit: AuditEntry) throws(StateStoreError) {
    try write(audit) { (connection: inout SQLiteConnection) throws(StateStoreError) in
      try connection.run(
        "UPDATE key SET revoked_at_ms = ? WHERE id = ? AND revoked_at_ms IS NULL", .int(atMS), .text(id))
      guard connection.changes == 1 else { throw .conflict("there is no key \(id) that is not revoked") }
    }
  }

  /// Notes when keys were last used. An earlier time than the one on record changes nothing.
  public func noteKeyUses(_ uses: [(id: String, atMS: Int)]) throws(StateStoreError) {
    try write(nil) { (connection: inout SQLiteConnection) throws(StateStoreError) in
      for use in uses {
        try connection.run(
          "UPDATE key SET last_used_at_ms = max(coalesce(last_used_at_ms, 0), ?) WHERE id = ?", .int(use.atMS),
          .text(use.id))
      }
    }
  }
}

extension SQLiteConnection {
  /// All keys, in the order of their ids.
  mutating func keys() throws(StateStoreError) -> [KeyRecord] {
    let path = path
    return try rows(
      """
      SELECT id, hash, tenant, scopes, pools, created_at_ms, expires_at_ms, revoked_at_ms, last_used_at_ms, note, rate,
        burst, concurrency FROM key ORDER BY id
      """
    ) { row throws(StateStoreError) in
      let names = row.text(3).split(separator: ",")
      let scopes = names.compactMap { Scope(rawValue: String($0)) }
      guard let hash = KeyHash(bytes: row.blob(1)), let tenant = Tenant(row.text(2)), scopes.count == names.count else {
        throw .corrupted(path: path, reason: "the key \(row.text(0)) has a hash, a tenant or a scope that is none")
      }
      return KeyRecord(
        id: row.text(0), hash: hash,
        grant: KeyGrant(
          tenant: tenant, scopes: Scopes(scopes),
          pools: row.optionalText(4).map { Set($0.split(separator: ",").map(String.init)) }, note: row.text(9),
          limits: KeyLimits(
            rate: row.optionalInt(10), burst: row.optionalInt(11), concurrency: row.optionalInt(12))),
        createdAtMS: row.int(5), expiresAtMS: row.optionalInt(6), revokedAtMS: row.optionalInt(7),
        lastUsedAtMS: row.optionalInt(8))
    }
  }
}
