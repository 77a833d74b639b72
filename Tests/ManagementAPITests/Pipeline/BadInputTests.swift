import APIModel
import HTTPServer
import Testing

@testable import ManagementAPI

@Suite struct BadInputTests {
  private static let id = "vm-0000000000000000"

  // MARK: Paths and methods

  @Test(arguments: [
    "/v1", "/v1/", "/v1/vms/", "/v1/vmss", "/problems/none", "/v2/vms", "/V1/vms", "/v1/vms/vm-0000000000000000/",
    "/v1/vms/vm-0000000000000000/kicks", "/v1/vms/5/kicks", "/v1/images/", "/metrics/vcpus/0", "/openapi.yml",
  ])
  func noSuchPath(path: String) {
    let reply = Harness(factory: StubFactory()).send("GET", path)
    #expect(reply.status == 404)
    #expect(reply.problem?.kind == "route-not-found")
  }

  @Test(arguments: [
    ("/v1/vms/5", "VM id"), ("/v1/vms/vm-000000000000000", "VM id"), ("/v1/vms/vm-000000000000000G", "VM id"),
    ("/v1/vms/VM-000000000000", "VM id"), ("/v1/vms/vm-0000000000000000/vcpus/64", "vCPU index"),
    ("/v1/vms/vm-0000000000000000/vcpus/00", "vCPU index"), ("/v1/vms/vm-0000000000000000/vcpus/-1", "vCPU index"),
    ("/v1/vms/vm-0000000000000000/vcpus/+1", "vCPU index"), ("/v1/pools/Demo", "pool name"),
    ("/v1/pools/_none", "pool name"), ("/v1/pools/-a", "pool name"), ("/v1/pools/é", "pool name"),
    ("/v1/pools/Demo/leases", "pool name"), ("/v1/images/Spin", "image name"), ("/v1/leases/7", "lease id"),
    ("/v1/blobs/sha256:00", "blob digest"),
  ])
  func whatHasNotTheFormIsToldTheForm(path: String, noun: String) throws {
    let problem = try #require(Harness(factory: StubFactory()).send("GET", path).problem)
    #expect(problem.kind == "invalid-parameter")
    #expect(problem.detail.contains("is no \(noun); give ") && problem.detail.contains("(^"), "\(problem.detail)")
    #expect(path.split(separator: "/").contains { problem.detail.contains("\"\($0)\"") }, "\(problem.detail)")
  }

  @Test func resourceNamesEndAt63() {
    let harness = Harness(factory: StubFactory())
    let longest = String(repeating: "a", count: 63)
    #expect(harness.send("GET", "/v1/pools/\(longest)").problem?.kind == "pool-not-found")
    #expect(harness.send("GET", "/v1/pools/\(longest)a").problem?.kind == "invalid-parameter")
  }

  @Test(arguments: Set(Route.all.map(\.template)))
  func everyOtherMethodIsRefusedWithAllow(template: String) {
    let harness = Harness(factory: StubFactory())
    let target = template.replacing("{vm}", with: Self.id).replacing("{index}", with: "0")
      .replacing("{lease}", with: "lease-0123456789abcdef")
      .replacing("{image}", with: "spin").replacing("{pool}", with: "demo").replacing("{kind}", with: "draining")
      .replacing("{digest}", with: "sha256:" + String(repeating: "0", count: 64))
    let methods = Route.all.filter { $0.template == template }.map(\.method.rawValue)
    let expected = Set(methods + ["OPTIONS"] + (methods.contains("GET") ? ["HEAD"] : []))
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "TRACE", "QUERY"] {
      let reply = harness.send(method, target, method == "PUT" ? "{" : "")
      #expect((reply.status == 405) == !expected.contains(method), "\(method) \(target): \(reply.status)")
      if let allow = reply["Allow"] { #expect(Set(allow.split(separator: ", ").map(String.init)) == expected) }
    }
    let options = harness.send("OPTIONS", target)
    #expect(options.status == 204)
    #expect(Set(options["Allow"]?.split(separator: ", ").map(String.init) ?? []) == expected)
  }

  @Test func optionsOfTheServerAndOfNothing() {
    let harness = Harness(factory: StubFactory())
    #expect(harness.send("OPTIONS", "*").status == 204)
    #expect(harness.send("OPTIONS", "/v1/nothing").status == 404)
    #expect(harness.send("GET", "*").status == 404)
  }

  // MARK: Query parameters

  @Test(arguments: [
    "/v1/vms?limit=0", "/v1/vms?limit=1001", "/v1/vms?limit=", "/v1/vms?limit=1.0", "/v1/vms?limit=01",
    "/v1/vms?limit=-1", "/v1/vms?limit=+1", "/v1/vms?limit=99999999999999999999", "/v1/vms?limit=1&limit=1",
    "/v1/vms?limit", "/v1/vms?Limit=1", "/v1/vms?offset=1", "/v1/vms?state=creating", "/v1/vms?state=",
    "/v1/vms?pool=_none", "/v1/vms?page_token=0", "/v1/vms?page_token=vm-0000000000000000",
    "/v1/vms?page_token=1000000000000000000", "/v1/pools?page_token=A", "/v1/images?page_token=", "/v1/host?a=b",
    "/v1/vms/vm-0000000000000000?x=", "/livez?verbose", "/metrics?name=x", "/openapi.yaml?=",
    "/v1/vms/vm-0000000000000000/console?offset=-1", "/v1/vms/vm-0000000000000000/console?offset=9223372036854775808",
    "/v1/vms/vm-0000000000000000/console?limit=65537", "/v1/vms/vm-0000000000000000/console?limit=0",
  ])
  func queryParameters(target: String) {
    let reply = Harness(factory: StubFactory()).send("GET", target)
    #expect(reply.status == 400)
    #expect(reply.problem?.kind == "invalid-parameter")
    #expect(reply.problem?.pointer == nil)
  }

  @Test(arguments: ["/v1/vms?limit=1000&pool=a&state=paused&page_token=999999999999999999", "/v1/pools?limit=1"])
  func goodQueryParameters(target: String) {
    #expect(Harness(factory: StubFactory()).send("GET", target).status == 200)
  }

  // MARK: Bodies

  struct BadBody: Sendable, CustomTestStringConvertible {
    var method = "POST"
    var path = "/v1/vms"
    let body: String
    var kind = "invalid-member"
    let pointer: String?
    var testDescription: String { "\(method) \(path) \(body.prefix(80))" }
  }

  static let bodies: [BadBody] = [
    BadBody(body: "", kind: "malformed-json", pointer: nil),
    BadBody(body: "{", kind: "malformed-json", pointer: nil),
    BadBody(body: #"{"image":"spin"} x"#, kind: "malformed-json", pointer: nil),
    BadBody(body: #"{"image":"spin",}"#, kind: "malformed-json", pointer: nil),
    BadBody(body: #"{'image':'spin'}"#, kind: "malformed-json", pointer: nil),
    BadBody(body: "\u{FEFF}{}", kind: "malformed-json", pointer: nil),
    BadBody(
      body: String(repeating: "[", count: 33) + String(repeating: "]", count: 33), kind: "malformed-json",
      pointer: nil),
    BadBody(body: "[]", pointer: ""),
    BadBody(body: "null", pointer: ""),
    BadBody(body: "{}", pointer: "/image"),
    BadBody(body: #"{"image":null}"#, pointer: "/image"),
    BadBody(body: #"{"image":"spin","image":"spin"}"#, pointer: "/image"),
    BadBody(body: #"{"image":"spin","vcpu":1}"#, pointer: "/vcpu"),
    BadBody(body: #"{"image":1}"#, pointer: "/image"),
    BadBody(body: #"{"image":"spim"}"#, pointer: "/image"),
    BadBody(body: #"{"image":"flat"}"#, pointer: "/image"),
    BadBody(body: #"{"image":"spin","vcpus":0}"#, pointer: "/vcpus"),
    BadBody(body: #"{"image":"spin","vcpus":65}"#, pointer: "/vcpus"),
    BadBody(body: #"{"image":"spin","vcpus":1.5}"#, pointer: "/vcpus"),
    BadBody(body: #"{"image":"spin","vcpus":"1"}"#, pointer: "/vcpus"),
    BadBody(body: #"{"image":"spin","vcpus":99999999999999999999}"#, pointer: "/vcpus"),
    BadBody(body: #"{"image":"spin","memory_mib":0}"#, pointer: "/memory_mib"),
    BadBody(body: #"{"image":"spin","memory_mib":65537}"#, pointer: "/memory_mib"),
    BadBody(body: #"{"image":"spin","start":1}"#, pointer: "/start"),
    BadBody(body: #"{"image":"spin","deadline_ms":0}"#, pointer: "/deadline_ms"),
    BadBody(body: #"{"image":"spin","deadline_ms":86400001}"#, pointer: "/deadline_ms"),
    BadBody(body: #"{"image":"spin","flat":{"mode":"real16","code":"9A=="}}"#, pointer: "/flat"),
    BadBody(body: #"{"flat":{"code":"9A=="}}"#, pointer: "/flat/mode"),
    BadBody(body: #"{"flat":{"mode":"real16"}}"#, pointer: "/flat/code"),
    BadBody(body: #"{"flat":{"mode":"real32","code":"9A=="}}"#, pointer: "/flat/mode"),
    BadBody(body: #"{"flat":{"mode":"real16","code":""}}"#, pointer: "/flat/code"),
    BadBody(body: #"{"flat":{"mode":"real16","code":"9A="}}"#, pointer: "/flat/code"),
    BadBody(body: #"{"flat":{"mode":"real16","code":"9A==\n"}}"#, pointer: "/flat/code"),
    BadBody(body: #"{"flat":{"mode":"real16","code":"9A==","ring":3}}"#, pointer: "/flat/ring"),
    BadBody(body: #"{"flat":{"mode":"real16","code":"9A==","entry":"10000"}}"#, pointer: "/flat/entry"),
    BadBody(body: #"{"flat":{"mode":"real16","code":"9A==","entry":65536}}"#, pointer: "/flat/entry"),
    BadBody(body: #"{"flat":{"mode":"real16","code":"9A==","entry":"0x+1"}}"#, pointer: "/flat/entry"),
    BadBody(
      body: #"{"flat":{"mode":"real16","code":"9A==","load_address":"0x123456789"}}"#, pointer: "/flat/load_address"),
    BadBody(method: "PUT", path: "/v1/pools/a", body: #"{"image":"spin"}"#, pointer: "/ready"),
    BadBody(method: "PUT", path: "/v1/pools/a", body: #"{"ready":1}"#, pointer: "/image"),
    BadBody(method: "PUT", path: "/v1/pools/a", body: #"{"image":"spin","ready":1001}"#, pointer: "/ready"),
    BadBody(method: "PUT", path: "/v1/pools/a", body: #"{"image":"spin","ready":-1}"#, pointer: "/ready"),
    BadBody(method: "PUT", path: "/v1/pools/a", body: #"{"image":"no","ready":1}"#, pointer: "/image"),
    BadBody(method: "PUT", path: "/v1/pools/a", body: #"{"image":"hello","vcpus":2,"ready":1}"#, pointer: "/vcpus"),
    BadBody(path: "/v1/vms/\(id)/start", body: #"{"now":true}"#, pointer: "/now"),
    BadBody(path: "/v1/vms/\(id)/pause", body: "[]", pointer: ""),
    BadBody(path: "/v1/vms/\(id)/stop", body: " ", kind: "malformed-json", pointer: nil),
    BadBody(path: "/v1/vms/\(id)/kick", body: #"{"timeout_ms":0}"#, pointer: "/timeout_ms"),
    BadBody(path: "/v1/vms/\(id)/vcpus/0/kick", body: #"{"timeout_ms":60001}"#, pointer: "/timeout_ms"),
    BadBody(path: "/v1/vms/\(id)/vcpus/0/kick", body: #"{"timeout":1}"#, pointer: "/timeout"),
  ]

  @Test(arguments: bodies) func refusedBodies(_ request: BadBody) {
    let harness = Harness(factory: StubFactory())
    let reply = harness.send(request.method, request.path, request.body)
    #expect(reply.status == 400)
    #expect(reply.problem?.kind == request.kind, "\(reply.text)")
    #expect(reply.problem?.pointer == request.pointer, "\(reply.text)")
    #expect(harness.fleet.vms(after: nil, limit: 1).vms.isEmpty && harness.fleet.pools.isEmpty)
  }

  @Test func ignoredBodies() {
    let harness = Harness(factory: StubFactory())
    #expect(harness.send("GET", "/v1/vms", "not JSON").status == 200)
    #expect(harness.send("DELETE", "/v1/vms/\(Self.id)", "not JSON").status == 404)
  }

  // MARK: What is not there

  @Test(arguments: [
    ("GET", "/v1/vms/\(id)", "vm-not-found"), ("DELETE", "/v1/vms/\(id)", "vm-not-found"),
    ("POST", "/v1/vms/\(id)/start", "vm-not-found"), ("POST", "/v1/vms/\(id)/pause", "vm-not-found"),
    ("POST", "/v1/vms/\(id)/resume", "vm-not-found"), ("POST", "/v1/vms/\(id)/stop", "vm-not-found"),
    ("POST", "/v1/vms/\(id)/kick", "vm-not-found"), ("GET", "/v1/vms/\(id)/vcpus", "vm-not-found"),
    ("GET", "/v1/vms/\(id)/vcpus/0", "vm-not-found"), ("POST", "/v1/vms/\(id)/vcpus/0/kick", "vm-not-found"),
    ("GET", "/v1/vms/\(id)/vcpus/0/registers", "vm-not-found"), ("GET", "/v1/vms/\(id)/console", "vm-not-found"),
    ("POST", "/v1/vms/\(id)/console", "vm-not-found"), ("GET", "/v1/images/nothing", "image-not-found"),
    ("GET", "/v1/pools/nothing", "pool-not-found"), ("DELETE", "/v1/pools/nothing", "pool-not-found"),
  ])
  func notFound(method: String, path: String, kind: String) {
    let reply = Harness(factory: StubFactory()).send(method, path)
    #expect(reply.status == 404)
    #expect(reply.problem?.kind == kind)
  }

  @Test(arguments: [
    (HTTPRefusal.badRequest("two Host fields"), "bad-request", 400),
    (.bodyTooLarge(limit: 9), "payload-too-large", 413),
    (.requestTimeout, "request-timeout", 408), (.shuttingDown, "draining", 503),
    (.internalError("x"), "internal-error", 500),
  ])
  func refusalsOfTheServer(refusal: HTTPRefusal, kind: String, status: Int) {
    let reply = Reply(Harness(factory: StubFactory()).api.response(to: refusal, requestID: "test-1"))
    reply.checkCommonRules(#_sourceLocation)
    #expect(reply.status == status)
    #expect(reply.problem?.kind == kind)
  }
}
