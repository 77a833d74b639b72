import Testing

@testable import StateStore

/// The audit log, as it is read.
struct AuditTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private static func entry(
    _ action: String, _ subject: String, by who: String = "key-a", tenant: String = "default", atMS: Int = 1000
  ) -> AuditEntry {
    AuditEntry(who: who, tenant: tenant, action: action, subject: subject, atMS: atMS)
  }

  private static func lease(_ id: String, fence: Int, tenant: String) -> StoredLease {
    StoredLease(
      id: id, tenant: tenant, pool: "build", vm: "vm-\(fence)", fence: fence, labels: "{}", grantedAtMS: 3000,
      expiresAtMS: 4000, maxExpiresAtMS: 9000)
  }

  /// Entries of two tenants, a grant of each among them, which stands in the lease's row.
  private func filled(_ directory: String?) throws -> (state: StateDatabase, leases: [String]) {
    let state = try StateDatabase.open(directory: directory)
    let leases = [state.leaseID(1), state.leaseID(2)]
    try state.append(Self.entry("pool.declare", "web", atMS: 1000))
    try state.append(Self.entry("pool.declare", "acme/web", by: "key-b", tenant: "acme", atMS: 2000))
    try state.recordLease(Self.lease(leases[0], fence: 1, tenant: "acme"), by: "key-b", requestID: "r-1")
    try state.recordLease(Self.lease(leases[1], fence: 2, tenant: "default"), by: "key-a", requestID: "r-2")
    try state.append(Self.entry("lease.released", leases[0], by: "key-b", tenant: "acme", atMS: 4000))
    return (state, leases)
  }

  @Test(arguments: [false, true]) func filtersCountTogether(isInMemory: Bool) throws {
    let (state, leases) = try filled(isInMemory ? nil : scratch.path)
    defer { state.close() }
    func found(_ filter: AuditFilter) throws -> [Int] { try state.audit(filter, limit: 10).map(\.sequence) }
    #expect(try found(AuditFilter()) == [5, 4, 3, 2, 1])
    #expect(try found(AuditFilter(tenant: "acme")) == [5, 3, 2])
    #expect(try found(AuditFilter(tenant: "none")) == [])
    #expect(try found(AuditFilter(who: "key-a")) == [4, 1])
    // A name counts with and without its tenant; a lease by its id, in the log and in its own row.
    #expect(try found(AuditFilter(subject: "web")) == [2, 1])
    #expect(try found(AuditFilter(subject: "acme/web")) == [2])
    #expect(try found(AuditFilter(subject: leases[0])) == [5, 3])
    #expect(try found(AuditFilter(tenant: "default", subject: leases[0])) == [])
    #expect(try found(AuditFilter(sinceMS: 2000, untilMS: 4000)) == [4, 3, 2])
    #expect(try found(AuditFilter(tenant: "acme", who: "key-b", subject: leases[0], sinceMS: 4000)) == [5])
    let grant = try #require(try state.audit(AuditFilter(subject: leases[1]), limit: 1).first?.entry)
    #expect(grant.action == "lease.grant" && grant.subject == leases[1] && grant.requestID == "r-2")
  }

  @Test func pagesFollowEachOther() throws {
    let (state, _) = try filled(scratch.path)
    defer { state.close() }
    var sequences: [Int] = []
    var before = Int.max
    while let last = try state.audit(AuditFilter(), before: before, limit: 2).map(\.sequence) as [Int]?, !last.isEmpty {
      #expect(last.count <= 2)
      sequences += last
      before = last[last.count - 1]
    }
    #expect(sequences == [5, 4, 3, 2, 1])
    #expect(try state.audit(AuditFilter(), before: 1, limit: 2).isEmpty)
  }

  /// Neither a tenant's entries nor those of all are sorted, and none of either is found by looking at every row.
  @Test(arguments: [
    (AuditFilter(), "audit_entry USING INTEGER PRIMARY KEY (rowid<?)", "granted_lease (sequence<?)"),
    (AuditFilter(tenant: "acme", who: "x"), "tenant_audit (tenant=? AND sequence<?)", "granted_lease (sequence<?)"),
    (
      AuditFilter(tenant: "acme", subject: "y", sinceMS: 1, untilMS: 2), "tenant_audit (tenant=? AND sequence<?)",
      "lease USING INTEGER PRIMARY KEY (rowid=?)"
    ),
  ])
  func anIndexLeadsToTheEntries(filter: AuditFilter, entries: String, grants: String) throws {
    let (state, _) = try filled(scratch.path)
    defer { state.close() }
    let (sql, values) = filter.query(before: 5, limit: 2, state.leaseNames)
    let plan = try state.readAside { (connection: inout SQLiteConnection) throws(StateStoreError) in
      var lines: [String] = []
      try connection.execute("EXPLAIN QUERY PLAN " + sql, values) { row throws(StateStoreError) in
        lines.append(row.text(3))
      }
      return lines
    }
    #expect(plan.contains { $0.hasSuffix(entries) } && plan.contains { $0.hasSuffix(grants) }, "\(plan)")
    #expect(!plan.contains { $0.contains("SCAN") }, "\(plan)")
    // One row needs no order.
    #expect(filter.subject != nil || !plan.contains { $0.contains("TEMP B-TREE") }, "\(plan)")
  }

  /// What leases wait for is the other connection's lock.
  @Test func changesDoNotWaitForAReader() throws {
    let (state, _) = try filled(scratch.path)
    defer { state.close() }
    let before = try state.readAside { (connection: inout SQLiteConnection) throws(StateStoreError) in
      try state.append(Self.entry("meanwhile", "x"))
      return try connection.number("SELECT max(sequence) FROM audit")
    }
    #expect(before == 6)
  }

  @Test func theReaderWritesNothing() throws {
    let (state, _) = try filled(scratch.path)
    defer { state.close() }
    #expect(throws: StateStoreError.self) {
      try state.readAside { (connection: inout SQLiteConnection) throws(StateStoreError) in
        try connection.run("DELETE FROM audit_entry")
      }
    }
    state.close()
    #expect(throws: StateStoreError.self) { try state.audit(AuditFilter(), limit: 1) }
  }
}
