import Access
import Containers
import Digests
import JSONCodec
import PoolManager
import StateStore
import Synchronization

/// Why a key is not made or not revoked.
public enum KeyRefusal: Error, Sendable {
  /// The first key of an open server could not make another.
  case firstNeedsAdmin
  /// There are as many keys as may be, and none of them has ended.
  case tooMany(limit: Int)
  /// There is no such key.
  case noSuchKey(String)
  /// It could not be recorded; `isRevoked`: it is refused until the server ends even so.
  case state(StateStoreError, isRevoked: Bool)
}

/// A key that was just made. Its text is nowhere else.
public struct IssuedKey: Sendable {
  /// The secret.
  public let text: KeyText
  /// What is kept of it.
  public let record: KeyRecord

  init(_ grant: KeyGrant, ttlMS: Int?, nowMS: Int) {
    text = .random()
    record = KeyRecord(
      id: KeyRecord.randomID(), hash: KeyRing.hash(of: text.text), grant: grant, createdAtMS: nowMS,
      expiresAtMS: ttlMS.map { nowMS + $0 })
  }
}

/// The keys of a server: all of them in memory, and on record in its state. Called on any thread.
public final class KeyRing: Sendable {
  private struct Table {
    var byHash: [KeyHash: LiveKey] = [:]
    var byID = SortedMap<String, LiveKey>()

    mutating func add(_ record: KeyRecord) {
      let key = LiveKey(record)
      byHash[record.hash] = key
      byID[record.id] = key
    }
  }

  /// How many keys there may be, also such as have ended. Past that, a new one takes the place of the one that ended first.
  public static let limit = 16_384

  private let state: StateDatabase
  /// Held while a key is made or revoked, the record of that included. Requests do not need it. Taken before `table`.
  private let changes = Mutex(())
  /// A leaf lock.
  private let table: Mutex<Table>
  /// Relaxed: it orders nothing; once it is set, it stays.
  private let hasKeys: Atomic<Bool>

  /// The keys that are on record in `state`.
  public init(_ state: StateDatabase) {
    self.state = state
    var table = Table()
    for record in state.recovered.keys { table.add(record) }
    hasKeys = Atomic(table.byID.count > 0)
    self.table = Mutex(table)
  }

  /// Whether a key was ever made: every request then needs a principal. It stays so.
  public var isClosed: Bool { hasKeys.load(ordering: .relaxed) }

  /// What is kept of a key's text.
  static func hash(of text: String) -> KeyHash {
    guard let hash = KeyHash(bytes: SHA256Digest(of: Array(text.utf8)).bytes) else {
      preconditionFailure("a SHA-256 hash has 32 bytes")
    }
    return hash
  }

  /// The key that a client presents, which is used thereby; nil where it is malformed, unknown, revoked or has expired.
  public func key(presented text: String) -> LiveKey? {
    guard KeyText(text) != nil else { return nil }
    let (hash, nowMS) = (Self.hash(of: text), StateDatabase.wallClockMS())
    guard let key = table.withLock({ $0.byHash[hash] }), !key.hasEnded(nowMS: nowMS) else { return nil }
    key.used(atMS: nowMS)
    return key
  }

  /// The key of that id.
  public func key(_ id: String) -> LiveKey? { table.withLock { $0.byID[id] } }

  /// At most `limit` keys behind the id `after`, of one tenant or of all, and whether more follow.
  public func page(after id: String?, limit: Int, of tenant: Tenant?) -> (items: [KeyRecord], goesOn: Bool) {
    // A copy, so that requests do not wait while it is looked through.
    let keys = table.withLock { $0.byID }
    guard let tenant else {
      let (items, goesOn) = keys.page(after: id, limit: limit)
      return (items.map(\.value.record), goesOn)
    }
    var found: [KeyRecord] = []
    for (_, key) in keys.page(after: id, limit: .max).items where key.principal.tenant == tenant {
      if found.count == limit { return (found, true) }
      found.append(key.record)
    }
    return (found, false)
  }

  /// Makes a key that lasts for `ttlMS` (nil: until it is revoked). `isClosed`: the server is closed by its configuration.
  public func make(
    _ grant: KeyGrant, ttlMS: Int?, isClosed: Bool, by origin: Origin
  ) throws(KeyRefusal) -> IssuedKey {
    try changes.withLock { _ throws(KeyRefusal) in
      // Nothing that has not the scope could make another key, and the server never opens again.
      guard isClosed || self.isClosed || grant.scopes.contains(.admin) else { throw .firstNeedsAdmin }
      let issued = IssuedKey(grant, ttlMS: ttlMS, nowMS: StateDatabase.wallClockMS())
      let forgotten = try table.withLock { (table) throws(KeyRefusal) in try Self.toForget(table) }
      try recording { () throws(StateStoreError) in
        try state.insertKey(
          issued.record, forgetting: forgotten?.id, audit: Self.entry("key.create", issued.record, origin))
      }
      let gone = table.withLock { table -> LiveKey? in
        defer { table.add(issued.record) }
        guard let forgotten else { return nil }
        defer { table.byID[forgotten.id] = nil }
        table.byHash[forgotten.hash] = nil
        return table.byID[forgotten.id]
      }
      // It has ended. Nothing looks at it any more, so what still goes on with it ends here.
      gone?.endIfExpired(nowMS: StateDatabase.wallClockMS())
      hasKeys.store(true, ordering: .relaxed)
      return issued
    }
  }

  /// The key that gives way to a new one; nil where there is room.
  private static func toForget(_ table: Table) throws(KeyRefusal) -> KeyRecord? {
    guard table.byID.count >= limit else { return nil }
    let nowMS = StateDatabase.wallClockMS()
    let ended = table.byID.values.lazy.filter { $0.hasEnded(nowMS: nowMS) }.map(\.record)
    guard let first = ended.min(by: { $0.endsAtMS ?? .max < $1.endsAtMS ?? .max }) else { throw .tooMany(limit: limit) }
    return first
  }

  /// Revokes a key, and ends what is under way with it. Once more changes nothing.
  public func revoke(_ id: String, by origin: Origin) throws(KeyRefusal) {
    guard let key = key(id) else { throw .noSuchKey(id) }
    // In any case and at once, also where it cannot be recorded.
    let atMS = key.revoke(atMS: StateDatabase.wallClockMS())
    try changes.withLock { _ throws(KeyRefusal) in
      if key.isRevocationRecorded { return }
      try recording(isRevoked: true) { () throws(StateStoreError) in
        try state.revokeKey(id: id, atMS: atMS, audit: Self.entry("key.revoke", key.record, origin))
      }
      key.revocationRecorded()
    }
  }

  /// Once a minute: puts the latest uses on record, and ends what is under way with keys that have expired.
  public func keepUp(nowMS: Int = StateDatabase.wallClockMS()) throws(StateStoreError) {
    let keys = table.withLock { Array($0.byID.values) }
    for key in keys { key.endIfExpired(nowMS: nowMS) }
    let uses = keys.compactMap { key in key.unnotedUseMS.map { (key, $0) } }
    if uses.isEmpty { return }
    try state.noteKeyUses(uses.map { key, atMS in (id: key.principal.id, atMS: atMS) })
    for (key, atMS) in uses { key.noted(atMS) }
  }

  // MARK: Pieces

  private func recording(
    isRevoked: Bool = false, _ body: () throws(StateStoreError) -> Void
  ) throws(KeyRefusal) {
    do throws(StateStoreError) { try body() } catch { throw .state(error, isRevoked: isRevoked) }
  }

  private static func entry(_ action: String, _ key: KeyRecord, _ origin: Origin) -> AuditEntry {
    let detail = try? JSON.encode(KeyDetail(key))
    return AuditEntry(
      who: origin.who, action: action, subject: key.id, requestID: origin.requestID,
      atMS: StateDatabase.wallClockMS(), detail: detail.map { String(decoding: $0, as: UTF8.self) })
  }
}

/// What the audit log says of a key.
private struct KeyDetail: Encodable {
  let tenant: String
  let scopes: [String]
  let pools: [String]?

  init(_ key: KeyRecord) {
    tenant = key.grant.tenant.name
    scopes = key.grant.scopes.all.map(\.rawValue)
    pools = key.grant.pools?.sorted()
  }
}
