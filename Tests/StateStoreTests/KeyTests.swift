import Access
import Testing

@testable import StateStore

/// Keys on record.
struct KeyTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func open() throws -> StateDatabase { try StateDatabase.open(directory: scratch.path) }

  private func key(_ number: Int, _ change: (inout KeyGrant) -> Void = { _ in }) throws -> KeyRecord {
    var grant = KeyGrant(tenant: .standard, scopes: [.read])
    change(&grant)
    let hash = try #require(KeyHash(bytes: [UInt8](repeating: UInt8(number), count: 32)))
    return KeyRecord(id: "key-000000000000000\(number)", hash: hash, grant: grant, createdAtMS: 1000)
  }

  @Test func keysAreBackAfterReopening() throws {
    let plain = try key(1)
    let full = KeyRecord(
      id: "key-0000000000000002", hash: plain.hash,
      grant: KeyGrant(
        tenant: try #require(Tenant("acme")), scopes: [.lease, .run], pools: ["web", "batch"], note: "ünïcode, of CI",
        limits: KeyLimits(rate: 5, burst: 50, concurrency: 8)),
      createdAtMS: 2000, expiresAtMS: 3000)
    let bound = try key(3) { $0.pools = [] }
    do {
      let state = try open()
      defer { state.close() }
      #expect(state.recovered.keys.isEmpty)
      for key in [full, bound, plain] { try state.insertKey(key, audit: Sample.audit("key.create", key.id)) }
      #expect(throws: StateStoreError.self) { try state.insertKey(plain, audit: Sample.audit("key.create", "again")) }
      #expect(try state.audit(after: 0, limit: 10).map(\.entry.subject) == [full.id, bound.id, plain.id])
    }
    #expect(try open().recovered.keys == [plain, full, bound])
  }

  @Test func revocationsAndUsesAreKept() throws {
    do {
      let state = try open()
      defer { state.close() }
      for number in 1...3 { try state.insertKey(try key(number), audit: Sample.audit("key.create", "\(number)")) }
      let id = try key(1).id
      try state.revokeKey(id: id, atMS: 5000, audit: Sample.audit("key.revoke", id))
      #expect(throws: StateStoreError.conflict("there is no key \(id) that is not revoked")) {
        try state.revokeKey(id: id, atMS: 6000, audit: Sample.audit("key.revoke", id))
      }
      try state.noteKeyUses([(id, 4000), (try key(2).id, 7000), ("key-absent", 1)])
      try state.noteKeyUses([(id, 3000)])
    }
    let keys = try open().recovered.keys
    #expect(keys.map(\.revokedAtMS) == [5000, nil, nil])
    #expect(keys.map(\.lastUsedAtMS) == [4000, 7000, nil])
  }

  @Test func aNewKeyTakesThePlaceOfAnother() throws {
    let state = try open()
    defer { state.close() }
    try state.insertKey(try key(1), audit: Sample.audit("key.create", "1"))
    try state.insertKey(try key(2), forgetting: try key(1).id, audit: Sample.audit("key.create", "2"))
    state.close()
    #expect(try open().recovered.keys.map(\.id) == [try key(2).id])
  }

  /// What the release before had: no table of keys.
  @Test func aFileOfVersion4GainsKeys() throws {
    do {
      var old = try SQLiteConnection(scratch.database, .create)
      old.checkpointOnClose(true)
      try old.script("PRAGMA page_size = 1024; PRAGMA journal_mode = WAL;")
      for step in Schema.steps.prefix(4) { try old.script(step) }
      try old.script(
        """
        PRAGMA application_id = \(Schema.applicationID); PRAGMA user_version = 4;
        INSERT INTO pool VALUES('build', x'7B7D', 3);
        """)
    }
    do {
      let state = try open()
      defer { state.close() }
      #expect(state.recovered.pools.map(\.name) == ["build"])
      #expect(state.recovered.keys.isEmpty)
      try state.insertKey(try key(1), audit: Sample.audit("key.create", "1"))
    }
    #expect(try open().recovered.keys == [try key(1)])
  }

  @Test func aKeyWhoseScopesAreNoneIsDamage() throws {
    do {
      let state = try open()
      defer { state.close() }
      try state.insertKey(try key(1), audit: Sample.audit("key.create", "1"))
    }
    var tool = try SQLiteConnection(scratch.database, .existing)
    try tool.run("UPDATE key SET scopes = 'read,everything'")
    tool.close()
    #expect(throws: StateStoreError.self) { try open() }
  }
}
