import APIModel
import Digests
import Testing

@testable import ManagementAPI

/// Conditional requests (RFC 9110, 13.1) and ranges (RFC 9110, 14).
struct ConditionTests {
  private let harness = Harness(factory: StubFactory())

  private func send(_ method: String, _ target: String, _ body: String = "", _ fields: (String, String)...) -> Reply {
    harness.send(method, target, body, headers: [("Host", "localhost")] + fields)
  }

  // MARK: Tags

  @Test(arguments: [
    #""1""#, #"W/"1""#, #""a,b""#, #""""#, #""1", "2""#, #""1","2""#, "\"1\"\t,\t\"2\"", #", "1",, W/"2","#, "*", " * ",
    "\"\u{e9}\"",
  ]) func isACondition(text: String) {
    #expect(TagCondition(text) != nil)
  }

  @Test(arguments: ["", ",", "1", #""1"#, #"1""#, "*, *", #"*, "1""#, "W/*", "W/", #"w/"1""#, #""1" "2""#, #""a b""#])
  func isNoCondition(text: String) {
    #expect(TagCondition(text) == nil)
  }

  @Test func aCommaInATagSeparatesNothing() {
    #expect(
      TagCondition(#"W/"a,b", "c""#)
        == .tags([EntityTag(isWeak: true, opaque: #""a,b""#), EntityTag(isWeak: false, opaque: #""c""#)]))
  }

  // MARK: Changes

  private func declared() throws -> String {
    let made = send("PUT", "/v1/pools/demo", #"{"image": "spin", "ready": 0}"#)
    return try #require(made["ETag"])
  }

  @Test func aWeakTagProtectsWhatIsThere() throws {
    let tag = try declared()
    for none in ["W/" + tag, #""a,b", "# + tag] {
      let reply = send("PUT", "/v1/pools/demo", #"{"image": "halt", "ready": 0}"#, ("If-None-Match", none))
      #expect(reply.problem?.kind == "precondition-failed", "\(none)")
    }
    #expect(send("GET", "/v1/pools/demo")["ETag"] == tag)
  }

  @Test func aWeakTagMatchesNothing() throws {
    let tag = try declared()
    #expect(send("DELETE", "/v1/pools/demo", "", ("If-Match", "W/" + tag)).problem?.kind == "precondition-failed")
    let both = send("PATCH", "/v1/pools/demo", "{}", ("If-Match", #""a,b", W/"x""#), ("If-Match", tag))
    #expect(both.status == 200)
  }

  @Test func everyLineCounts() throws {
    let tag = try declared()
    let reply = send(
      "PUT", "/v1/pools/demo", #"{"image": "halt", "ready": 0}"#, ("If-None-Match", #""x""#), ("If-None-Match", tag))
    #expect(reply.status == 412)
  }

  @Test(arguments: ["Lease-Fence", "Idempotency-Key"]) func aFieldOfOneValueStandsOnce(name: String) {
    let reply =
      name == "Lease-Fence"
      ? send("DELETE", "/v1/vms/vm-0000000000000000", "", (name, "1"), (name, "2"))
      : send("POST", "/v1/vms", #"{"image": "spin"}"#, (name, "a"), (name, "b"))
    #expect(reply.problem?.kind == "bad-request")
    #expect(reply.problem?.detail.contains(name) == true)
  }

  // MARK: Reading

  /// Paths of everything that has an entity tag.
  private func tagged() throws -> [String] {
    _ = try declared()
    let code: [UInt8] = [0xF4, 0xF4]
    harness.send("PUT", "/v1/images/code?kind=flat&mode=real16", bytes: code)
    return [
      "/v1/pools/demo", "/v1/images/code", "/v1/images/spin", "/v1/blobs/\(SHA256Digest(of: code))", "/openapi.yaml",
      "/docs", "/problems/draining",
    ]
  }

  @Test func whatTheClientHasIsNotSentAgain() throws {
    for path in try tagged() {
      let whole = send("GET", path)
      let tag = try #require(whole["ETag"], "\(path)")
      for (name, value, status) in [
        ("If-None-Match", tag, 304), ("If-None-Match", "W/" + tag, 304), ("If-None-Match", "*", 304),
        ("If-None-Match", #""x""#, 200), ("If-Match", tag, 200), ("If-Match", "W/" + tag, 412), ("If-Match", "*", 200),
        ("If-None-Match", "nonsense", 400),
      ] {
        let reply = send("GET", path, "", (name, value))
        #expect(reply.status == status, "\(path) \(name): \(value)")
        if status == 304 {
          #expect(reply["ETag"] == tag && reply.body.isEmpty && reply["Cache-Control"] == whole["Cache-Control"])
        }
      }
      // If-Match comes first (RFC 9110, 13.2.2).
      #expect(send("GET", path, "", ("If-None-Match", tag), ("If-Match", #""x""#)).status == 412)
      #expect(send("HEAD", path, "", ("If-None-Match", tag)).status == 304)
    }
  }

  @Test func everyTaggedAnswerDescribesItsConditions() {
    let document = OpenAPIDocument.shared
    for (name, operation) in document.operations where name.hasPrefix("GET ") {
      let responses = operation["responses"] as? [String: Any] ?? [:]
      let isTagged = (document.resolved(responses["200"])["headers"] as? [String: Any])?["ETag"] != nil
      #expect((responses["304"] != nil) == isTagged && (responses["412"] != nil) == isTagged, "\(name)")
    }
  }

  // MARK: Blobs

  @Test func aBlobIsReadInParts() throws {
    let bytes = [UInt8](0..<200)
    let path = "/v1/blobs/\(SHA256Digest(of: bytes))"
    harness.send("PUT", path, bytes: bytes)
    let whole = send("GET", path)
    #expect(whole["Cache-Control"]?.contains("immutable") == true)
    #expect(whole["Accept-Ranges"] == "bytes")
    let tag = try #require(whole["ETag"])
    let part = send("GET", path, "", ("Range", "bytes=100-149"), ("If-Range", tag))
    #expect(part.status == 206 && part["Content-Range"] == "bytes 100-149/200")
    #expect(part.body == Array(bytes[100..<150]))
    #expect(send("GET", path, "", ("Range", "bytes=100-149"), ("If-Range", #""x""#)).status == 200)
    #expect(send("GET", path, "", ("Range", "bytes=100-149"), ("If-None-Match", tag)).status == 304)
    let beyond = send("GET", path, "", ("Range", "bytes=200-"))
    #expect(beyond.problem?.kind == "range-not-satisfiable")
    #expect(beyond["Content-Range"] == "bytes */200")
  }

  @Test func conditionsHoldForBlobs() {
    let path = "/v1/blobs/\(SHA256Digest(of: [1]))"
    func put(_ name: String, _ value: String) -> Reply {
      harness.send("PUT", path, bytes: [1], headers: [("Host", "localhost"), (name, value)])
    }
    #expect(put("If-Match", "*").status == 412)
    #expect(put("If-None-Match", "*").status == 201)
    #expect(put("If-None-Match", "*").status == 412)
    #expect(put("If-Match", "*").status == 200)
    #expect(send("DELETE", path, "", ("If-Match", #""x""#)).status == 412)
    #expect(send("DELETE", path, "", ("If-Match", "*")).status == 204)
    #expect(send("DELETE", path, "", ("If-Match", "*")).status == 404)
  }
}
