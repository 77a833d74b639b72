import APIModel
import Access
import Control
import HTTPServer
import JSONCodec
import Testing

@testable import ManagementAPI

/// `/v1/keys`.
@Suite struct KeyTests {
  private let harness = Harness(factory: StubFactory())

  private func send(_ method: String, _ target: String, _ body: String = "", key: String? = nil) -> Reply {
    let credentials = key.map { [("Authorization", "Bearer \($0)")] } ?? []
    return harness.send(method, target, body, headers: [("Host", "localhost")] + credentials)
  }

  /// The first key, which closes the server.
  private func first() throws -> String {
    try #require(try send("POST", "/v1/keys", #"{"scopes":["admin"]}"#).document(KeyDocument.self).key)
  }

  @Test func aKeyIsMadeShownOnceListedAndRevoked() throws {
    let admin = try first()
    let body = #"""
      {"tenant":"acme","scopes":["run","lease"],"pools":["web","batch"],"ttl_ms":60000,"note":"CI","rate":5,"burst":9,
       "concurrency":2}
      """#
    let reply = send("POST", "/v1/keys", body, key: admin)
    #expect(reply.status == 201)
    let made = try reply.document(KeyDocument.self)
    #expect(reply["Location"] == "/v1/keys/\(made.id)")
    let text = try #require(made.key)
    #expect(KeyText(text) != nil)
    #expect(made.tenant == "acme" && made.scopes == ["lease", "run"] && made.pools == ["batch", "web"])
    #expect(made.note == "CI" && made.rate == 5 && made.burst == 9 && made.concurrency == 2)
    #expect(made.expiresAt != nil && made.revokedAt == nil && made.lastUsedAt == nil)

    #expect(send("GET", "/v1/pools", key: text).status == 403)
    var shown = made
    shown.key = nil
    let again = try send("GET", "/v1/keys/\(made.id)", key: admin).document(KeyDocument.self)
    #expect(again.lastUsedAt != nil)
    shown.lastUsedAt = again.lastUsedAt
    #expect(again == shown)
    let list = send("GET", "/v1/keys?tenant=acme", key: admin)
    #expect(try list.document(Page<KeyDocument>.self).items == [shown])
    #expect(!list.text.contains("vmp_"))

    #expect(send("DELETE", "/v1/keys/\(made.id)", key: admin).status == 204)
    #expect(send("DELETE", "/v1/keys/\(made.id)", key: admin).status == 204)
    #expect(send("GET", "/v1/pools", key: text).status == 401)
    let revoked = try send("GET", "/v1/keys/\(made.id)", key: admin).document(KeyDocument.self)
    #expect(revoked.revokedAt != nil)
  }

  @Test func theFirstKeyNeedsAdmin() throws {
    let refused = send("POST", "/v1/keys", #"{"scopes":["read"]}"#)
    #expect(refused.status == 409 && refused.problem?.kind == "first-key-needs-admin")
    #expect(send("GET", "/v1/host").status == 200)
    let admin = try first()
    #expect(send("GET", "/v1/host").status == 401)
    #expect(send("POST", "/v1/keys", #"{"scopes":["read"]}"#, key: admin).status == 201)
  }

  @Test func tenantsSeeTheirOwnKeys() throws {
    let admin = try first()
    let made = try ["acme", "zoo"].map { tenant in
      try send("POST", "/v1/keys", #"{"tenant":"\#(tenant)","scopes":["read"]}"#, key: admin)
        .document(KeyDocument.self)
    }
    let text = made[0].key
    #expect(try send("GET", "/v1/keys", key: text).document(Page<KeyDocument>.self).items.map(\.id) == [made[0].id])
    // As on every list: a client names no tenant but its own.
    #expect(send("GET", "/v1/keys?tenant=zoo", key: text).problem?.kind == "scope-missing")
    #expect(send("GET", "/v1/keys/\(made[0].id)", key: text).status == 200)
    let (foreign, absent) = (made[1].id, "key-0000000000000000")
    let replies = [foreign, absent].map { send("GET", "/v1/keys/\($0)", key: text) }
    #expect(replies[0].status == 404 && replies[0].text.replacing(foreign, with: absent) == replies[1].text)
    #expect(try send("GET", "/v1/keys", key: admin).document(Page<KeyDocument>.self).items.count == 3)
  }

  @Test func aListHasPages() throws {
    let admin = try first()
    for _ in 0..<4 { _ = send("POST", "/v1/keys", #"{"scopes":["read"]}"#, key: admin) }
    var ids: [String] = []
    var token: String?
    repeat {
      let query = token.map { "&page_token=\($0)" } ?? ""
      let page = try send("GET", "/v1/keys?limit=2\(query)", key: admin).document(Page<KeyDocument>.self)
      ids += page.items.map(\.id)
      token = page.nextPageToken
    } while token != nil
    #expect(ids.count == 5 && ids == ids.sorted())
  }

  @Test(arguments: [
    (#"{}"#, "/scopes"), (#"{"scopes":[]}"#, "/scopes"), (#"{"scopes":["all"]}"#, "/scopes/0"),
    (#"{"scopes":["read","Lease"]}"#, "/scopes/1"), (#"{"scopes":["read"],"tenant":"A"}"#, "/tenant"),
    (#"{"scopes":["read"],"tenant":"a/b"}"#, "/tenant"), (#"{"scopes":["read"],"pools":[]}"#, "/pools"),
    (#"{"scopes":["read"],"pools":["a","a,b"]}"#, "/pools/1"), (#"{"scopes":["admin"],"pools":["a"]}"#, "/pools"),
    (#"{"scopes":["read"],"ttl_ms":999}"#, "/ttl_ms"), (#"{"scopes":["read"],"rate":0}"#, "/rate"),
    (#"{"scopes":["read"],"burst":5}"#, "/burst"), (#"{"scopes":["read"],"rate":1,"burst":0}"#, "/burst"),
    (#"{"scopes":["read"],"concurrency":0}"#, "/concurrency"),
    (#"{"scopes":["read"],"key":"vmp_mine"}"#, "/key"),
  ])
  func whatAKeyMayNotBe(body: String, pointer: String) throws {
    let reply = send("POST", "/v1/keys", body, key: try first())
    #expect(reply.status == 400 && reply.problem?.pointer == pointer, "\(reply.text)")
  }

  /// An answer that is kept for a repetition would have the key in it.
  @Test func noAnswerWithAKeyIsKept() throws {
    let admin = try first()
    let headers = [("Host", "localhost"), ("Authorization", "Bearer \(admin)"), ("Idempotency-Key", "once")]
    let made = (0..<2).map { _ in harness.send("POST", "/v1/keys", #"{"scopes":["read"]}"#, headers: headers) }
    #expect(made[0].status == 201 && made[1].status == 201 && made[0].text != made[1].text)
  }
}
