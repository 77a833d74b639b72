import APIModel
import Access
import LinuxSupport
import StateStore
import TestSupport
import Testing

@testable import ManagementAPI

/// `/v1/audit`, and what is recorded of refused attempts.
@Suite struct AuditTests {
  private let harness = Harness(factory: StubFactory())

  private func entries(
    _ query: String = "", _ client: [(String, String)], sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> [AuditEntryDocument] {
    let reply = harness.send("GET", "/v1/audit?limit=1000\(query)", headers: client)
    try #require(reply.status == 200, "\(reply.text)", sourceLocation: sourceLocation)
    return try reply.document(Page<AuditEntryDocument>.self).items
  }

  /// Returns when all that was handed to the worker is written.
  private func settle() throws {
    let written = CountingSemaphore()
    try harness.api.auditors.submit { written.signal() }
    written.wait()
  }

  private func tenant(_ name: String) throws -> Tenant { try #require(Tenant(name)) }

  @Test func aTenantSeesItsOwnEntriesAndAnOperatorAll() throws {
    let admin = try harness.client(.standard, scopes: [.admin])
    let (acme, zoo) = (try harness.client(tenant("acme")), try harness.client(tenant("zoo")))
    for client in [acme, zoo, admin] {
      #expect(harness.send("PUT", "/v1/pools/web", #"{"image":"spin","ready":0}"#, headers: client).status == 201)
    }
    let own = try entries("&subject=web", acme)
    #expect(own.map(\.tenant) == ["acme"] && own.map(\.action) == ["pool.declare"])
    #expect(own.first?.subject == "web" && own.first?.result == "done" && own.first?.requestID == "test-1")
    #expect(own.first?.who.hasPrefix("key-") == true)
    #expect(try Set(entries("", acme).map(\.tenant)) == ["acme"])
    #expect(try entries("&subject=web", admin).map(\.tenant) == ["default", "zoo", "acme"])
    #expect(try entries("&tenant=zoo&subject=web", admin).map(\.tenant) == ["zoo"])
    #expect(harness.send("GET", "/v1/audit?tenant=zoo", headers: acme).problem?.kind == "scope-missing")
    let bound = try harness.client(tenant("acme"), pools: ["web"])
    #expect(harness.send("GET", "/v1/audit", headers: bound).problem?.kind == "scope-missing")
  }

  @Test func filtersAndPages() throws {
    let admin = try harness.client(.standard, scopes: [.admin])
    for number in 0..<5 {
      try harness.state.append(
        AuditEntry(who: "uid \(number % 2)", action: "test", subject: "s\(number)", atMS: 1000 * number))
    }
    #expect(try entries("&who=uid 1", admin).map(\.subject) == ["s3", "s1"])
    let time = "&since=1970-01-01T00:00:01Z&until=1970-01-01T01:00:03%2B01:00".replacing("%2B", with: "+")
    #expect(try entries(time, admin).map(\.subject) == ["s2", "s1"])
    var subjects: [String] = []
    var token: String?
    repeat {
      let query = "until=1971-01-01T00:00:00Z&limit=2" + (token.map { "&page_token=\($0)" } ?? "")
      let page = try harness.send("GET", "/v1/audit?\(query)", headers: admin).document(Page<AuditEntryDocument>.self)
      subjects += page.items.map(\.subject)
      token = page.nextPageToken
    } while token != nil
    #expect(subjects == ["s4", "s3", "s2", "s1", "s0"])
    for query in ["since=yesterday", "until=2025-02-30T00:00:00Z", "page_token=0", "page_token=x", "who=", "limit=0"] {
      #expect(
        harness.send("GET", "/v1/audit?\(query)", headers: admin).problem?.kind == "invalid-parameter", "\(query)")
    }
  }

  @Test func refusedAttemptsAreRecordedWithoutWhatWasPresented() throws {
    let admin = try harness.client(.standard, scopes: [.admin])
    let reader = try harness.client(tenant("acme"), scopes: [.read])
    let presented = KeyText.random().text
    #expect(harness.send("DELETE", "/v1/pools/secretive", headers: reader).status == 403)
    let wrong = [("Host", "localhost"), ("Authorization", "Bearer \(presented)")]
    #expect(harness.send("GET", "/v1/vms/vm-0000000000000000", headers: wrong, peer: "192.0.2.7").status == 401)
    // With the body: the blobs are another tenant's.
    #expect(harness.send("GET", "/v1/blobs", headers: reader).status == 403)
    #expect(harness.send("GET", "/v1/pools/none", headers: reader).status == 404)
    try settle()
    let own = try entries("", reader).filter { $0.action == "refused" }
    #expect(own.map(\.subject) == ["GET /v1/blobs", "DELETE /v1/pools/{pool}"])
    #expect(own.allSatisfy { $0.result == "refused" && $0.detail == #"{"problem":"scope-missing"}"# })
    #expect(own.allSatisfy { $0.who.hasPrefix("key-") && $0.requestID == "test-1" })
    let all = try entries("", admin)
    let stranger = try #require(all.first { $0.who == "192.0.2.7" })
    #expect(stranger.subject == "GET /v1/vms/{vm}" && stranger.detail == #"{"problem":"unauthenticated"}"#)
    #expect(stranger.tenant == "default" && stranger.result == "refused")
    #expect(!all.contains { "\($0)".contains(presented) || "\($0)".contains("secretive") })
  }

  @Test func whatIsPastTheBudgetIsCountedInOneEntry() throws {
    let admin = try harness.client(.standard, scopes: [.admin])
    func refuse(_ count: Int, _ peer: String) {
      for _ in 0..<count { #expect(harness.send("GET", "/v1/host", peer: peer).status == 401) }
    }
    func recorded() throws -> [AuditEntryDocument] {
      try settle()
      return try entries("", admin).filter { $0.action == "refused" }
    }
    refuse(30, "192.0.2.1")
    #expect(try recorded().count == RefusedAttempts.entriesOfSource)
    harness.api.refusedAttempts.endWindow()
    let counted = try #require(try recorded().first)
    #expect(counted.who == "192.0.2.1" && counted.detail == #"{"attempts":22}"#)
    // From many sources: the limit of all.
    for number in 0..<100 { refuse(1, "198.51.100.\(number)") }
    harness.api.refusedAttempts.endWindow()
    let all = try recorded()
    #expect(all.count == RefusedAttempts.entriesOfSource + 1 + RefusedAttempts.entriesOfAll + 1)
    #expect(all.first?.who == "several clients" && all.first?.detail == #"{"attempts":36}"#)
    // A new window records again, and one without others ends without an entry.
    refuse(1, "192.0.2.1")
    harness.api.refusedAttempts.endWindow()
    #expect(try recorded().count == all.count + 1)
  }
}
