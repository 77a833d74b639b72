import Foundation
import Testing

@testable import StateStore

/// Each call, in memory and on disk, before and after reopening.
struct StateDatabaseTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func open(onDisk: Bool = true, _ limits: StateLimits = StateLimits()) throws -> StateDatabase {
    try StateDatabase.open(directory: onDisk ? scratch.path : nil, limits: limits, nowMS: 5000)
  }

  @Test(arguments: [false, true]) func nothingIsThereAtFirst(onDisk: Bool) throws {
    let state = try open(onDisk: onDisk)
    let nothing = Recovered(
      pools: [], images: [], keys: [], lostLeases: [], highestFence: 0, highestRevision: 0, epoch: 1)
    #expect(state.recovered == nothing)
    #expect(try state.lease(id: "none") == nil)
    #expect(try state.audit(after: 0, limit: 10).isEmpty)
  }

  @Test func filesAreForTheirOwnerAlone() throws {
    let state = try open()
    try state.append(Sample.audit("test", "x"))
    for name in ["vmpool.db", "vmpool.db-wal", "vmpool.db-shm", "vmpool.lock"] {
      let attributes = try FileManager.default.attributesOfItem(atPath: scratch.path + "/" + name)
      #expect(attributes[.posixPermissions] as? Int == 0o600, "\(name)")
    }
    state.close()
    let left = try FileManager.default.contentsOfDirectory(atPath: scratch.path)
    #expect(Set(left) == ["vmpool.db", "vmpool.lock"])
  }

  @Test func poolsAreBackAfterReopening() throws {
    do {
      let state = try open()
      defer { state.close() }
      try state.putPool(name: "b", document: [1, 2, 0], revision: 1, audit: Sample.audit("pool.put", "b"))
      try state.putPool(name: "a", document: [], revision: 2, audit: Sample.audit("pool.put", "a"))
      try state.putPool(name: "b", document: [9], revision: 3, audit: Sample.audit("pool.put", "b"))
      try state.putPool(name: "gone", document: [7], revision: 8, audit: Sample.audit("pool.put", "gone"))
      try state.deletePool(name: "gone", audit: Sample.audit("pool.delete", "gone"))
    }
    let recovered = try open().recovered
    #expect(
      recovered.pools == [
        StoredPool(name: "a", document: [], revision: 2), StoredPool(name: "b", document: [9], revision: 3),
      ])
    #expect(recovered.highestRevision == 8)
    #expect(recovered.epoch == 2)
  }

  @Test(arguments: [false, true]) func aRevisionOnlyGrows(onDisk: Bool) throws {
    let state = try open(onDisk: onDisk)
    try state.putPool(name: "a", document: [1], revision: 5, audit: Sample.audit("pool.put", "a"))
    for revision in [4, 5] {
      #expect(throws: StateStoreError.self) {
        try state.putPool(name: "a", document: [2], revision: revision, audit: Sample.audit("pool.put", "a"))
      }
    }
    #expect(throws: StateStoreError.self) { try state.deletePool(name: "b", audit: Sample.audit("pool.delete", "b")) }
    // What was refused left no trace.
    #expect(try state.audit(after: 0, limit: 10).count == 1)
  }

  @Test(arguments: [false, true]) func aLeaseIsGrantedExtendedAndEnded(onDisk: Bool) throws {
    let state = try open(onDisk: onDisk)
    var lease = Sample.lease(Sample.id(1), fence: 3)
    try state.recordLease(lease, by: "127.0.0.1", requestID: nil)
    #expect(try state.lease(id: Sample.id(1)) == lease)
    try state.extendLease(id: Sample.id(1), expiresAtMS: 7777, audit: nil)
    lease.expiresAtMS = 7777
    #expect(try state.lease(id: Sample.id(1)) == lease)
    lease.end = StoredLeaseEnd(reason: .expired, atMS: 8888, detail: "nobody came")
    try state.endLeases([(Sample.id(1), lease.end!, Sample.audit("lease.end", Sample.id(1)))])
    #expect(try state.lease(id: Sample.id(1)) == lease)
    let actions = try state.audit(after: 0, limit: 10).map(\.entry.action)
    #expect(actions == ["lease.grant", "lease.end"])
  }

  @Test func whatContradictsTheRecordIsRefusedInWhole() throws {
    let state = try open()
    let lease = Sample.lease(Sample.id(1), fence: 3)
    let audit = Sample.audit("test", Sample.id(1))
    try state.recordLease(lease, by: "127.0.0.1", requestID: nil)
    let end = StoredLeaseEnd(reason: .released, atMS: 1)
    try state.endLeases([(Sample.id(1), end, audit)])
    let before = try state.audit(after: 0, limit: 10)
    #expect(throws: StateStoreError.self) { try state.recordLease(lease, by: "127.0.0.1", requestID: nil) }
    #expect(throws: StateStoreError.self) { try state.extendLease(id: Sample.id(1), expiresAtMS: 1, audit: audit) }
    #expect(try state.endLeases([(Sample.id(1), end, audit), ("none", end, audit)]) == [Sample.id(1), "none"])
    #expect(try state.audit(after: 0, limit: 10) == before)
  }

  @Test(
    arguments: ["0000000000000000", "7fffffffffffffff", "8000000000000000", "fedcba9876543210"].map { "lease-" + $0 })
  func everyNumberIsALeasesId(id: String) throws {
    let state = try open()
    let lease = Sample.lease(id, fence: 3)
    try state.recordLease(lease, by: "127.0.0.1", requestID: nil)
    #expect(try state.lease(id: id) == lease)
    #expect(try state.audit(after: 0, limit: 10).map(\.entry.subject) == [id])
  }

  @Test(arguments: [
    "", "lease-", "lease-1", "lease-00000000000000000", "lease-000000000000000A", "v-0000000000000000000",
  ])
  func whatIsNoLeasesIdIsNoLeases(id: String) throws {
    let state = try open()
    try state.recordLease(Sample.lease(Sample.id(0), fence: 1), by: "127.0.0.1", requestID: nil)
    #expect(throws: StateStoreError.self) {
      try state.recordLease(Sample.lease(id, fence: 3), by: "127.0.0.1", requestID: nil)
    }
    #expect(try state.lease(id: id) == nil)
    #expect(throws: StateStoreError.self) { try state.extendLease(id: id, expiresAtMS: 1, audit: nil) }
    #expect(try state.endLeases([(id, StoredLeaseEnd(reason: .released, atMS: 1), Sample.audit("test", "x"))]) == [id])
    #expect(try state.audit(after: 0, limit: 10).count == 1)
  }

  @Test func openLeasesAreLostWithTheProcess() throws {
    do {
      let state = try open()
      defer { state.close() }
      for fence in 1...3 {
        let id = Sample.id(fence)
        try state.recordLease(Sample.lease(id, fence: fence), by: "127.0.0.1", requestID: nil)
      }
      let end = StoredLeaseEnd(reason: .released, atMS: 1)
      try state.endLeases([(Sample.id(3), end, Sample.audit("lease.end", Sample.id(3)))])
    }
    let state = try open()
    #expect(state.recovered.lostLeases.map(\.id) == [Sample.id(1), Sample.id(2)])
    #expect(state.recovered.highestFence == 3)
    let lost = try #require(try state.lease(id: Sample.id(1))?.end)
    #expect(lost.reason == .lost && lost.atMS == 5000 && lost.detail != nil)
    #expect(try state.lease(id: Sample.id(3))?.end?.reason == .released)
    let entries = try state.audit(after: 4, limit: 10).map(\.entry)
    #expect(entries.map(\.action) == ["lease.lost", "lease.lost"])
    #expect(Set(entries.map(\.subject)) == [Sample.id(1), Sample.id(2)])
    state.close()
    #expect(try open().recovered.lostLeases.isEmpty)
  }

  @Test func theAuditLogKeepsEveryMember() throws {
    let full = AuditEntry(
      who: "unix:1000", action: "vm.create", subject: "vm-1", requestID: "abc", atMS: 42, detail: #"{"a":"ü"}"#)
    do {
      let state = try open()
      defer { state.close() }
      try state.append(full)
      try state.append(Sample.audit("two", "x"))
      try state.append(Sample.audit("three", "x"))
      #expect(try state.audit(after: 1, limit: 1).map(\.entry.action) == ["two"])
      #expect(try state.audit(after: 0, limit: -1).isEmpty)
    }
    let records = try open().audit(after: 0, limit: 10)
    #expect(records.map(\.sequence) == [1, 2, 3])
    #expect(records[0].entry == full)
  }

  /// An operator may repair something by hand while the server runs.
  @Test func somebodyElsesChangesAreInNobodysWay() throws {
    let state = try open()
    try state.append(Sample.audit("before", "x"))
    for number in 1...3 {
      var tool = try SQLiteConnection(scratch.path + "/vmpool.db", .existing)
      try tool.run("UPDATE meta SET value = value + 1 WHERE name = 'checkpoints'")
      tool.close()
      try state.recordLease(Sample.lease(Sample.id(number), fence: number), by: "127.0.0.1", requestID: nil)
      try state.append(Sample.audit("after", "x"))
    }
    #expect(try state.audit(after: 0, limit: 10).map(\.sequence) == Array(1...7))
  }

  /// Version 1 had grants in the audit log, version 3 has them in the leases' rows.
  @Test(arguments: [1, 3]) func whatAnEarlierReleaseWroteIsTakenOver(version: Int) throws {
    let ids = ["lease-18eb0123456789ab", "lease-fedcba9876543210"]
    do {
      var connection = try SQLiteConnection(scratch.path + "/vmpool.db", .create)
      try connection.script("PRAGMA page_size = 1024; PRAGMA journal_mode = WAL")
      for step in Schema.steps.prefix(version) { try connection.script(step) }
      try connection.script("PRAGMA application_id = \(Schema.applicationID); PRAGMA user_version = \(version)")
      for (number, id) in zip(1..., ids) {
        let end = number == 2 ? "1500, 'expired', 'so'" : "NULL, NULL, NULL"
        let grant = version == 1 ? "" : ", \(number), 'x', 'r-\(number)'"
        try connection.run(
          "INSERT INTO lease VALUES(?, 'p', 'vm-1', ?, '{}', 1, 2, 3, \(end)\(grant))", .text(id), .int(number))
        if version == 1 {
          try connection.run(
            "INSERT INTO audit VALUES(?, 'x', 'lease.grant', ?, NULL, 1, NULL)", .int(number), .text(id))
        }
      }
    }
    let state = try open()
    #expect(state.recovered.lostLeases.map(\.id) == [ids[0]])
    #expect(state.recovered.highestFence == 2)
    let ended = try #require(try state.lease(id: ids[1]))
    #expect(ended.end == StoredLeaseEnd(reason: .expired, atMS: 1500, detail: "so"))
    #expect(ended.pool == "p" && ended.vm == "vm-1" && ended.fence == 2 && ended.maxExpiresAtMS == 3)
    try state.recordLease(Sample.lease(Sample.id(3), fence: 3), by: "127.0.0.1", requestID: "r-3")
    let records = try state.audit(after: 0, limit: 10)
    #expect(records.map(\.sequence) == Array(1...4))
    #expect(records.map(\.entry.action) == ["lease.grant", "lease.grant", "lease.lost", "lease.grant"])
    #expect(records.map(\.entry.subject) == [ids[0], ids[1], ids[0], Sample.id(3)])
    #expect(records.last?.entry.requestID == "r-3")
  }

  @Test func aClosedStateRefusesEverything() throws {
    let state = try open()
    state.close()
    state.close()
    #expect(throws: StateStoreError.self) { try state.append(Sample.audit("late", "x")) }
    #expect(throws: StateStoreError.self) { try state.lease(id: "x") }
    #expect(throws: StateStoreError.self) { try state.prune(nowMS: 0) }
    state.flush(logLimit: 0)
  }

  @Test func aDirectoryHasOneUser() throws {
    let state = try open()
    let error = #expect(throws: StateStoreError.self) { try open() }
    #expect("\(error!)".contains("process \(ProcessInfo.processInfo.processIdentifier) uses it"))
    state.close()
    #expect(try open().recovered.epoch == 2)
  }

  @Test func aDirectoryThatIsNotThereIsNamed() throws {
    let error = #expect(throws: StateStoreError.self) {
      try StateDatabase.open(directory: scratch.path + "/none")
    }
    #expect("\(error!)".contains(scratch.path + "/none/vmpool.lock cannot be opened: No such file"))
  }

  @Test func fullSyncWorksTheSame() throws {
    do {
      let state = try StateDatabase.open(directory: scratch.path, sync: .full)
      defer { state.close() }
      try state.recordLease(Sample.lease(Sample.id(1), fence: 1), by: "127.0.0.1", requestID: nil)
    }
    #expect(try open().recovered.lostLeases.map(\.id) == [Sample.id(1)])
  }

  @Test func aCheckpointMovesEverythingIntoTheFile() throws {
    let state = try open()
    try state.recordLease(Sample.lease(Sample.id(1), fence: 1), by: "127.0.0.1", requestID: nil)
    let copy = try Scratch()
    state.flush(logLimit: 0)
    #expect(state.flushError == nil)
    // The file alone, without its log.
    try copy.replace(with: try scratch.bytes())
    let other = try StateDatabase.open(directory: copy.path)
    #expect(other.recovered.lostLeases.map(\.id) == [Sample.id(1)])
  }

  @Test func theLogDoesNotGrowFromCheckpointToCheckpoint() throws {
    let state = try open()
    var sizes: Set<Int> = []
    for round in 0..<5 {
      for number in 0..<50 { try state.append(Sample.audit("round \(round)", "\(number)")) }
      state.flush(logLimit: 0)
      if round > 1 { sizes.insert(try scratch.bytes("vmpool.db-wal").count) }
    }
    // A page of an index that is split may make one of them a few pages longer.
    #expect((sizes.max() ?? 0) - (sizes.min() ?? 0) < 8 * 1024, "\(sizes)")
  }

  // MARK: Images

  private func image(_ name: String, _ manifest: [UInt8] = [1, 0, 255]) -> StoredImage {
    StoredImage(name: name, kind: "linux", manifest: manifest, createdAtMS: 1000)
  }

  @Test func imagesAreStoredReplacedAndDeleted() throws {
    let scratch = try Scratch()
    do {
      let state = try StateDatabase.open(directory: scratch.path)
      defer { state.close() }
      #expect(state.recovered.images.isEmpty)
      for name in ["b", "a", "c"] { try state.putImage(image(name), audit: Sample.audit("image.store", name)) }
      try state.putImage(image("a", [7]), audit: Sample.audit("image.store", "a"))
      try state.deleteImage(name: "c", audit: Sample.audit("image.delete", "c"))
      #expect(throws: StateStoreError.conflict("there is no image c")) {
        try state.deleteImage(name: "c", audit: Sample.audit("image.delete", "c"))
      }
      #expect(try state.audit(after: 0, limit: 10).map(\.entry.subject) == ["b", "a", "c", "a", "c"])
    }
    let state = try StateDatabase.open(directory: scratch.path)
    #expect(state.recovered.images == [image("a", [7]), image("b")])
  }

  /// What the first release wrote: no table of images.
  @Test func aFileOfVersion1GainsImages() throws {
    let scratch = try Scratch()
    do {
      var old = try SQLiteConnection(scratch.database, .create)
      old.checkpointOnClose(true)
      try old.script("PRAGMA page_size = 1024; PRAGMA journal_mode = WAL;")
      try old.script(Schema.steps[0])
      try old.script(
        """
        PRAGMA application_id = \(Schema.applicationID); PRAGMA user_version = 1;
        INSERT INTO pool VALUES('build', x'7B7D', 3);
        """)
    }
    do {
      let state = try StateDatabase.open(directory: scratch.path)
      defer { state.close() }
      #expect(state.recovered.pools == [StoredPool(name: "build", document: Array("{}".utf8), revision: 3)])
      #expect(state.recovered.images.isEmpty)
      try state.putImage(image("a"), audit: Sample.audit("image.store", "a"))
    }
    #expect(try StateDatabase.open(directory: scratch.path).recovered.images == [image("a")])
    var now = try SQLiteConnection(scratch.database, .existing)
    #expect(try now.number("PRAGMA user_version") == Schema.version)
  }
}
