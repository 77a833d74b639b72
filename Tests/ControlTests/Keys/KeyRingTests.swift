import Access
import PoolManager
import StateStore
import Synchronization
import Testing

@testable import Control

/// Keys of a running server, over a state in memory.
@Suite struct KeyRingTests {
  private let state: StateDatabase
  private let ring: KeyRing
  private let origin = Origin(who: "unix", requestID: "r-1")

  init() throws {
    state = try StateDatabase.open(directory: nil)
    ring = KeyRing(state)
  }

  private func make(
    _ scopes: Scopes = .admin, ttlMS: Int? = nil, _ change: (inout KeyGrant) -> Void = { _ in }
  ) throws -> IssuedKey {
    var grant = KeyGrant(tenant: .standard, scopes: scopes)
    change(&grant)
    return try ring.make(grant, ttlMS: ttlMS, isClosed: false, by: origin)
  }

  @Test func aKeyIsFoundByItsTextAlone() throws {
    #expect(!ring.isClosed)
    let issued = try make()
    #expect(ring.isClosed)
    let key = try #require(ring.key(presented: issued.text.text))
    #expect(key.principal == Principal(id: issued.record.id, tenant: .standard, scopes: .admin))
    #expect(ring.key(presented: KeyText.random().text) == nil)
    #expect(ring.key(presented: issued.record.id) == nil)
    #expect(ring.key(presented: "") == nil)
  }

  @Test func theFirstKeyOfAnOpenServerCanMakeAnother() throws {
    let reader = KeyGrant(tenant: .standard, scopes: [.read])
    #expect(throws: KeyRefusal.self) { try ring.make(reader, ttlMS: nil, isClosed: false, by: origin) }
    #expect(!ring.isClosed)
    _ = try ring.make(reader, ttlMS: nil, isClosed: true, by: origin)
    _ = try ring.make(reader, ttlMS: nil, isClosed: false, by: origin)
  }

  @Test func aKeyEndsWhenItIsRevokedAndWhenItExpires() throws {
    let (revoked, expiring) = (try make(), try make(ttlMS: 1000))
    let end = try #require(expiring.record.expiresAtMS)
    let key = try #require(ring.key(presented: expiring.text.text))
    #expect(!key.hasEnded(nowMS: end - 1))
    #expect(key.hasEnded(nowMS: end))
    try ring.revoke(revoked.record.id, by: origin)
    #expect(ring.key(presented: revoked.text.text) == nil)
    let first = ring.key(revoked.record.id)?.record.revokedAtMS
    #expect(first != nil)
    try ring.revoke(revoked.record.id, by: origin)
    #expect(ring.key(revoked.record.id)?.record.revokedAtMS == first)
    #expect(throws: KeyRefusal.self) { try ring.revoke("key-0000000000000000", by: origin) }
    let actions = try state.audit(after: 0, limit: 10).map(\.entry.action)
    #expect(actions == ["key.create", "key.create", "key.revoke"])
  }

  @Test func theAuditLogSaysWhatAKeyMayDoAndNotTheKey() throws {
    let issued = try make([.admin, .lease]) { $0.pools = ["web"] }
    let entry = try #require(try state.audit(after: 0, limit: 10).first?.entry)
    #expect(entry.subject == issued.record.id && entry.who == "unix" && entry.requestID == "r-1")
    #expect(entry.detail == #"{"tenant":"default","scopes":["lease","admin"],"pools":["web"]}"#)
  }

  // MARK: Limits

  @Test func aBucketGivesItsBurstAndThenItsRate() throws {
    let issued = try make { $0.limits = KeyLimits(rate: 10, burst: 3) }
    let key = try #require(ring.key(presented: issued.text.text))
    for _ in 0..<3 { _ = try key.begin(nowNS: 5_000_000_000) }
    let limits = KeyLimits(rate: 10, burst: 3)
    #expect(throws: KeyLimitReached.rate(limits, waitNS: 100_000_000)) { try key.begin(nowNS: 5_000_000_000) }
    _ = try key.begin(nowNS: 5_100_000_000)
    #expect(throws: KeyLimitReached.rate(limits, waitNS: 50_000_000)) { try key.begin(nowNS: 5_150_000_000) }
    // It is full after a while, and not more than full.
    for _ in 0..<3 { _ = try key.begin(nowNS: 90_000_000_000) }
    #expect(throws: KeyLimitReached.self) { try key.begin(nowNS: 90_000_000_000) }
  }

  @Test func requestsUnderWayAreCountedUntilTheyAreOver() throws {
    let issued = try make { $0.limits = KeyLimits(concurrency: 2) }
    let key = try #require(ring.key(presented: issued.text.text))
    let first = try key.begin()
    var second: KeyUse? = try key.begin()
    #expect(throws: KeyLimitReached.concurrency(limit: 2)) { try key.begin() }
    first.finish()
    first.finish()
    let third = try key.begin()
    #expect(throws: KeyLimitReached.concurrency(limit: 2)) { try key.begin() }
    // A request that is dropped, since its client left before its end, is over as well.
    second = nil
    _ = try key.begin()
    withExtendedLifetime((third, second)) {}
  }

  // MARK: Revocation

  @Test func revocationEndsWhatIsUnderWay() throws {
    let issued = try make()
    let key = try #require(ring.key(presented: issued.text.text))
    let ended = Atomic(0)
    let endings = try (0..<3).map { _ in try key.begin() }
    for use in endings { use.whenEnded { ended.add(1, ordering: .relaxed) } }
    endings[0].finish()
    #expect(ended.load(ordering: .relaxed) == 0)
    try ring.revoke(issued.record.id, by: origin)
    #expect(ended.load(ordering: .relaxed) == 2)
    #expect(endings[1].hasEnded)
    // One that begins to wait at that moment.
    endings[1].whenEnded { ended.add(1, ordering: .relaxed) }
    #expect(ended.load(ordering: .relaxed) == 3)
    endings[0].whenEnded { ended.add(1, ordering: .relaxed) }
    #expect(ended.load(ordering: .relaxed) == 3)
  }

  @Test func whatIsUnderWayEndsWithAKeyThatExpires() throws {
    let issued = try make(ttlMS: 60_000)
    let use = try #require(ring.key(presented: issued.text.text)).begin()
    let ended = Atomic(0)
    use.whenEnded { ended.add(1, ordering: .relaxed) }
    try ring.keepUp(nowMS: issued.record.createdAtMS + 59_999)
    #expect(ended.load(ordering: .relaxed) == 0)
    try ring.keepUp(nowMS: issued.record.createdAtMS + 60_000)
    #expect(ended.load(ordering: .relaxed) == 1)
  }

  // MARK: Many

  @Test func aListHasPagesAndATenantsKeys() throws {
    let acme = try #require(Tenant("acme"))
    _ = try make()
    let all = try (0..<20).map { number in try make { if number % 2 == 0 { $0.tenant = acme } } }
    let (first, goesOn) = ring.page(after: nil, limit: 4, of: acme)
    let (second, ends) = ring.page(after: first.last?.id, limit: 100, of: acme)
    #expect(first.count == 4 && goesOn && second.count == 6 && !ends)
    let mine = all.map(\.record).filter { $0.grant.tenant == acme }.map(\.id).sorted()
    #expect((first + second).map(\.id) == mine)
    #expect(ring.page(after: nil, limit: 21, of: nil).items.count == 21)
    #expect(ring.page(after: nil, limit: 20, of: nil).goesOn)
  }

  @Test func aFullRingForgetsTheKeyThatEndedFirst() throws {
    let first = try make()
    for _ in 1..<KeyRing.limit { _ = try make() }
    #expect(throws: KeyRefusal.self) { try make() }
    try ring.revoke(first.record.id, by: origin)
    _ = try make()
    #expect(ring.key(first.record.id) == nil)
    #expect(ring.page(after: nil, limit: .max, of: nil).items.count == KeyRing.limit)
    #expect(throws: KeyRefusal.self) { try make() }
  }
}
