import Testing

@testable import ManagementAPI

@Suite struct AdmissionTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let headers: [(String, String)]
    var peer = "127.0.0.1"
    let problem: String?

    var testDescription: String { "\(headers) from \(peer): \(problem ?? "admitted")" }
  }

  static let cases: [Case] = [
    Case(headers: [("Host", "localhost:8080")], problem: nil),
    Case(headers: [("Host", "LOCALHOST")], problem: nil),
    Case(headers: [("Host", "127.0.0.1:1")], problem: nil),
    Case(headers: [("Host", "[::1]:8080")], problem: nil),
    Case(headers: [("Host", "[::1]")], problem: nil),
    Case(headers: [("host", "vmpool.example:443")], problem: nil),
    Case(headers: [], problem: nil),
    Case(headers: [("Host", "example.com")], problem: "unknown-host"),
    Case(headers: [("Host", "localhost.example.com:8080")], problem: "unknown-host"),
    Case(headers: [("Host", "localhost:8080@example.com")], problem: "unknown-host"),
    Case(headers: [("Host", "localhost:")], problem: nil),
    Case(headers: [("Host", "localhost:80a")], problem: "unknown-host"),
    Case(headers: [("Host", "[::1]x")], problem: "unknown-host"),
    Case(headers: [("Host", "[::1")], problem: "unknown-host"),
    Case(headers: [("Host", "")], problem: "unknown-host"),
    Case(headers: [("Host", "127.0.0.2:8080")], problem: "unknown-host"),
    Case(headers: [("Host", "example.com")], peer: "unix", problem: nil),

    Case(headers: [("Host", "localhost:8080"), ("Origin", "http://localhost:8080")], problem: nil),
    Case(headers: [("Host", "Localhost:8080"), ("Origin", "http://localhost:8080")], problem: nil),
    Case(headers: [("Host", "localhost"), ("Origin", "http://localhost:80")], problem: nil),
    Case(headers: [("Host", "localhost:443"), ("Origin", "https://localhost")], problem: nil),
    Case(headers: [("Host", "localhost:8080"), ("Origin", "http://localhost:8081")], problem: "cross-site-request"),
    Case(headers: [("Host", "localhost:8080"), ("Origin", "http://localhost")], problem: "cross-site-request"),
    Case(headers: [("Host", "localhost:8080"), ("Origin", "http://127.0.0.1:8080")], problem: "cross-site-request"),
    Case(headers: [("Host", "localhost:8080"), ("Origin", "https://example.com")], problem: "cross-site-request"),
    Case(headers: [("Host", "localhost:8080"), ("Origin", "null")], problem: "cross-site-request"),
    Case(headers: [("Host", "localhost:8080"), ("Origin", "")], problem: "cross-site-request"),
    Case(
      headers: [("Host", "localhost:8080"), ("Origin", "http://localhost:8080"), ("Origin", "http://example.com")],
      problem: "cross-site-request"),
    Case(headers: [("Host", "a"), ("Origin", "http://b")], peer: "unix", problem: "cross-site-request"),
    Case(headers: [("Origin", "http://localhost:8080")], problem: "cross-site-request"),

    Case(headers: [("Host", "localhost:8080"), ("Sec-Fetch-Site", "same-origin")], problem: nil),
    Case(headers: [("Host", "localhost:8080"), ("Sec-Fetch-Site", "none")], problem: nil),
    Case(headers: [("Host", "localhost:8080"), ("Sec-Fetch-Site", "same-site")], problem: "cross-site-request"),
    Case(headers: [("Host", "localhost:8080"), ("Sec-Fetch-Site", "cross-site")], problem: "cross-site-request"),
  ]

  @Test(arguments: cases) func whoMaySpeak(_ request: Case) {
    let harness = Harness(factory: StubFactory(), hostNames: ["VMPool.example"])
    let reply = harness.send("GET", "/livez", headers: request.headers, peer: request.peer)
    #expect(reply.status == (request.problem == nil ? 200 : 403))
    #expect(reply.problem?.kind == request.problem)
  }

  @Test func refusedBeforeTheBodyIsRead() {
    let harness = Harness(factory: StubFactory())
    func admit(_ method: String, _ path: String, _ headers: [(String, String)], length: Int? = nil) -> Int? {
      var head = Harness.request(method, path, [], [("Host", "localhost")] + headers).head
      head.contentLength = length
      if case .answer(let response) = harness.api.admit(&head) { return response.status }
      return nil
    }
    #expect(admit("POST", "/v1/vms", [("Origin", "http://example.com")]) == 403)
    #expect(admit("POST", "/v1/nothing", []) == 404)
    #expect(admit("PATCH", "/v1/vms", []) == 405)
    #expect(admit("POST", "/v1/vms", [("Content-Type", "text/plain")]) == 415)
    #expect(admit("POST", "/v1/vms/vm-0000000000000000/console", [], length: 65_537) == 413)
    #expect(admit("POST", "/v1/vms/vm-0000000000000000/console", [], length: 65_536) == nil)
    #expect(admit("POST", "/v1/vms", []) == nil)
  }

  @Test(arguments: [
    ("PUT", "/v1/images/tool?kind=flat&mode=real16"), ("PUT", "/v1/pools/build"), ("PATCH", "/v1/pools/build"),
    ("POST", "/v1/vms"), ("POST", "/v1/vms/vm-0000000000000000/console"),
  ])
  func partsAndCodedBodiesAreRefused(method: String, path: String) {
    let harness = Harness(factory: StubFactory())
    func send(_ name: String, _ value: String) -> Reply {
      harness.send(method, path, "{}", headers: [("Host", "localhost"), (name, value)])
    }
    for range in ["bytes 0-1/2", "bytes 2-3/4", "nonsense"] {
      let part = send("Content-Range", range)
      #expect(part.problem?.kind == "bad-request" && part.problem?.detail.contains("Content-Range") == true)
    }
    for coding in ["gzip", "identity, br", "GZIP"] {
      let coded = send("Content-Encoding", coding)
      #expect(coded.status == 415 && coded.problem?.detail.contains("Content-Encoding") == true, "\(coded.text)")
    }
    #expect(send("Content-Encoding", "Identity").status != 415)
    #expect(harness.images.blobs.usedBytes == (path.contains("images") ? 2 : 0))
  }

  @Test func whereNoBodyIsReadItsFormIsIgnored() {
    let harness = Harness(factory: StubFactory())
    let headers = [("Host", "localhost"), ("Content-Range", "bytes 0-1/2"), ("Content-Encoding", "gzip")]
    #expect(harness.send("GET", "/v1/vms", headers: headers).status == 200)
  }

  @Test(arguments: [
    ("POST", "/v1/vms", "application/json", true), ("POST", "/v1/vms", "application/json; charset=utf-8", true),
    ("POST", "/v1/vms", "Application/JSON", true), ("POST", "/v1/vms", "application/x-www-form-urlencoded", true),
    ("POST", "/v1/vms", "application/octet-stream", false), ("POST", "/v1/vms", "text/plain", false),
    ("POST", "/v1/vms", "multipart/form-data", false), ("POST", "/v1/vms", "", false),
    ("POST", "/v1/vms/vm-0000000000000000/console", "application/octet-stream", true),
    ("POST", "/v1/vms/vm-0000000000000000/console", "application/json", false),
    ("GET", "/v1/vms", "text/plain", true), ("DELETE", "/v1/vms/vm-0000000000000000", "text/plain", true),
  ])
  func contentTypes(method: String, path: String, type: String, isAccepted: Bool) {
    let harness = Harness(factory: StubFactory())
    let reply = harness.send(method, path, headers: [("Host", "localhost"), ("Content-Type", type)])
    #expect((reply.status != 415) == isAccepted)
  }
}
