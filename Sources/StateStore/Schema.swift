/// The tables, by version. A later version adds a step and never changes one.
enum Schema {
  /// "vmpl": marks our file among SQLite databases.
  static let applicationID = 0x766D_706C

  /// Version n is what the first n steps make.
  static let steps = [
    // No AUTOINCREMENT, whose table would be one more page to write: the latest row is never pruned, so numbers that
    // must only grow do.
    """
    CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO meta VALUES('epoch', 0), ('fence', 0), ('revision', 0), ('checkpoints', 0);

    CREATE TABLE pool(name TEXT PRIMARY KEY, document BLOB NOT NULL, revision INTEGER NOT NULL) STRICT, WITHOUT ROWID;

    CREATE TABLE lease(
      id TEXT PRIMARY KEY, pool TEXT NOT NULL, vm TEXT NOT NULL, fence INTEGER NOT NULL, labels TEXT NOT NULL,
      granted_at_ms INTEGER NOT NULL, expires_at_ms INTEGER NOT NULL, max_expires_at_ms INTEGER NOT NULL,
      ended_at_ms INTEGER, end_reason TEXT, end_detail TEXT) STRICT, WITHOUT ROWID;
    CREATE INDEX ended_lease ON lease(ended_at_ms) WHERE ended_at_ms IS NOT NULL;

    CREATE TABLE idempotency(
      sequence INTEGER PRIMARY KEY, scope TEXT NOT NULL, key TEXT NOT NULL, fingerprint BLOB NOT NULL,
      epoch INTEGER NOT NULL, at_ms INTEGER NOT NULL, status INTEGER, headers TEXT, body BLOB,
      UNIQUE(scope, key)) STRICT;

    CREATE TABLE audit(
      sequence INTEGER PRIMARY KEY, who TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL, request_id TEXT,
      at_ms INTEGER NOT NULL, detail TEXT) STRICT;
    """,
    """
    CREATE TABLE image(
      name TEXT PRIMARY KEY, kind TEXT NOT NULL, manifest BLOB NOT NULL, created_at_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    // A grant's audit entry is part of the lease's row for as long as there is one: one page less to write while
    // somebody waits for the lease.
    """
    ALTER TABLE lease ADD COLUMN sequence INTEGER;
    ALTER TABLE lease ADD COLUMN who TEXT;
    ALTER TABLE lease ADD COLUMN request_id TEXT;
    ALTER TABLE audit RENAME TO audit_entry;
    CREATE VIEW audit(sequence, who, action, subject, request_id, at_ms, detail) AS
      SELECT sequence, who, action, subject, request_id, at_ms, detail FROM audit_entry
      UNION ALL
      SELECT sequence, who, 'lease.grant', id, request_id, granted_at_ms, NULL FROM lease WHERE sequence IS NOT NULL;
    """,
    // A lease is found by its number, which grows: a new row always goes to the end of the table, which takes a third less
    // time than among names does, and four pages less whenever a page is full.
    """
    DROP VIEW audit;
    ALTER TABLE lease RENAME TO named_lease;
    DROP INDEX ended_lease;
    CREATE TABLE lease(
      id INTEGER PRIMARY KEY, pool TEXT NOT NULL, vm TEXT NOT NULL, fence INTEGER NOT NULL, labels TEXT NOT NULL,
      granted_at_ms INTEGER NOT NULL, expires_at_ms INTEGER NOT NULL, max_expires_at_ms INTEGER NOT NULL,
      ended_at_ms INTEGER, end_reason TEXT, end_detail TEXT, sequence INTEGER, who TEXT, request_id TEXT) STRICT;
    CREATE INDEX ended_lease ON lease(ended_at_ms) WHERE ended_at_ms IS NOT NULL;
    INSERT INTO lease
      WITH RECURSIVE digit(lease, place, number) AS (
        SELECT id, 0, 0 FROM named_lease
        UNION ALL
        SELECT lease, place + 1, number << 4 | instr('123456789abcdef', substr(lease, 7 + place, 1)) FROM digit
        WHERE place < 16)
      SELECT number, pool, vm, fence, labels, granted_at_ms, expires_at_ms, max_expires_at_ms, ended_at_ms, end_reason,
        end_detail, sequence, who, request_id FROM digit JOIN named_lease ON lease = id WHERE place = 16 ORDER BY number;
    DROP TABLE named_lease;
    CREATE VIEW audit(sequence, who, action, subject, request_id, at_ms, detail) AS
      SELECT sequence, who, action, subject, request_id, at_ms, detail FROM audit_entry
      UNION ALL
      SELECT sequence, who, 'lease.grant', printf('lease-%016x', id), request_id, granted_at_ms, NULL FROM lease
      WHERE sequence IS NOT NULL;
    """,
    // Of a key's text there is the hash. Scopes and pools are names with commas between them.
    """
    CREATE TABLE key(
      id TEXT PRIMARY KEY, hash BLOB NOT NULL, tenant TEXT NOT NULL, scopes TEXT NOT NULL, pools TEXT,
      created_at_ms INTEGER NOT NULL, expires_at_ms INTEGER, revoked_at_ms INTEGER, last_used_at_ms INTEGER,
      note TEXT NOT NULL, rate INTEGER, burst INTEGER, concurrency INTEGER) STRICT, WITHOUT ROWID;
    """,
    tenants,
  ]

  /// Whose a lease and an audit entry is. What was there before is the default tenant's. Leases
  /// have ids that their numbers do not show (see `LeaseNames`).
  private static let tenants = """
    DROP VIEW audit;
    ALTER TABLE lease ADD COLUMN tenant TEXT NOT NULL DEFAULT 'default';
    CREATE INDEX granted_lease ON lease(sequence);
    ALTER TABLE audit_entry ADD COLUMN tenant TEXT NOT NULL DEFAULT 'default';
    CREATE INDEX tenant_audit ON audit_entry(tenant, sequence);
    CREATE VIEW audit(sequence, who, action, subject, request_id, at_ms, detail, tenant, lease) AS
      SELECT sequence, who, action, subject, request_id, at_ms, detail, tenant, NULL FROM audit_entry
      UNION ALL
      SELECT sequence, who, 'lease.grant', NULL, request_id, granted_at_ms, NULL, tenant, id FROM lease
      WHERE sequence IS NOT NULL;
    """

  static var version: Int { steps.count }

  /// Brings a file of `version` to the latest one, in one transaction.
  static func migrate(_ connection: inout SQLiteConnection, from version: Int) throws(StateStoreError) {
    guard version < steps.count else { return }
    try connection.transaction { (connection: inout SQLiteConnection) throws(StateStoreError) in
      for step in steps[version...] {
        try connection.script(step)
        if step == tenants { try connection.nameLeases() }
      }
      try connection.script("PRAGMA application_id = \(applicationID); PRAGMA user_version = \(steps.count);")
    }
  }
}
