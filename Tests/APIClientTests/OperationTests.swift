import APIClient
import APIModel
import JSONCodec
import Testing

private let id = "vm-5f0c2a9b1e7d4a60"
private let vm = VMDocument(
  id: id, pool: nil, image: "spin", state: "running", vcpus: 1, memoryMiB: 2, createdAt: "2025-01-31T12:00:00.000Z",
  consoleBytes: 3, stop: nil)
private let pool = PoolDocument(
  name: "demo", image: "spin", vcpus: 1, memoryMiB: 2, ready: ReadyRange(2), maxVMs: nil, deadlineMS: nil,
  refill: RefillDocument(), paused: false, probeIntervalMS: nil, source: "api",
  status: PoolStatusDocument(
    ready: 1, outdated: 0, leased: 0, creating: 1, retiring: 0, quarantined: 0, waiting: 0, running: 0, paused: 0,
    stopped: 0, draining: false, refill: RefillStatusDocument(state: "ok", lastError: "no memory")))
private let lease = LeaseDocument(
  lease: "lease-1", pool: "demo", vm: id, fence: 7, labels: ["a": "b"], grantedAt: "2025-01-31T12:00:00.000Z",
  expiresAt: "2025-01-31T12:01:00.000Z", maxExpiresAt: "2025-02-01T12:00:00.000Z")
private let outcome = RunDocument(
  vm: id, outcome: "exited", exitCode: 3, detail: nil, console: "hello\n", consoleBase64: nil, consoleBytes: 6,
  exits: ["io": 6], durationNS: 1234)
private let kick = KickDocument(
  vm: id, vcpu: 1, generation: 9, mechanism: "immediate_exit", phase: "parked", coalesced: false, signalsSent: 0,
  latencyNS: 28412, signalLatencyNS: nil)

private func json<Document: Encodable>(_ document: Document) throws -> String {
  String(decoding: try JSON.encode(document), as: UTF8.self)
}

/// What an operation sends, and that it understands the answer to it.
struct OperationCase: Sendable, CustomTestStringConvertible {
  var request: String
  var body: String?
  var type: String
  /// Header fields that it must send.
  var headers: [String: String]
  var answer: ScriptedServer.Answer
  var isUnderstood: @Sendable (VMPoolClient) throws -> Bool

  var testDescription: String { request }

  init(
    _ request: String, body: String? = nil, type: String = "application/json", headers: [String: String] = [:],
    status: Int = 200, answerHeaders: [String] = [], _ answer: String,
    _ isUnderstood: @escaping @Sendable (VMPoolClient) throws -> Bool
  ) {
    self.request = request
    self.body = body
    self.type = type
    self.headers = headers
    self.answer = .http(status, headers: answerHeaders, answer)
    self.isUnderstood = isUnderstood
  }

  static func all() throws -> [OperationCase] {
    let vmJSON = try json(vm)
    let kickJSON = try json(kick)
    let creation = CreateVMDocument(image: "spin", vcpus: 3, start: false)
    return [
      .init("POST /v1/vms", body: try json(creation), vmJSON) {
        try $0.createVM(creation) == vm
      },
      .init("GET /v1/vms/\(id)", vmJSON) { try $0.vm(id) == vm },
      .init("GET /v1/vms/a%2Fb%3F", vmJSON) { try $0.vm("a/b?") == vm },
      .init("POST /v1/vms/\(id)/start", body: "", vmJSON) { try $0.startVM(id) == vm },
      .init("POST /v1/vms/\(id)/pause", body: "", vmJSON) { try $0.pauseVM(id) == vm },
      .init("POST /v1/vms/\(id)/resume", body: "", vmJSON) { try $0.resumeVM(id) == vm },
      .init("POST /v1/vms/\(id)/stop", body: "", vmJSON) { try $0.stopVM(id) == vm },
      .init("DELETE /v1/vms/\(id)", "") {
        try $0.deleteVM(id)
        return true
      },
      .init("GET /v1/vms?pool=demo&state=ready&limit=1000", #"{"items":[\#(vmJSON)],"next_page_token":null}"#) {
        try $0.vms(pool: "demo", state: "ready") == [vm]
      },
      .init(
        "POST /v1/vms/\(id)/kick", body: try json(KickRequestDocument()), #"{"vm":"\#(id)","kicks":[\#(kickJSON)]}"#
      ) {
        try $0.kickAll(of: id) == KickAllDocument(vm: id, kicks: [kick])
      },
      .init("POST /v1/vms/\(id)/vcpus/1/kick", body: #"{"timeout_ms":5}"#, kickJSON) {
        try $0.kick(vcpu: 1, of: id, timeoutMS: 5) == kick
      },
      .init("GET /metrics", "x 1\n") { try $0.metrics() == "x 1\n" },
      .init("GET /metrics/vcpus", "y 2\n") { try $0.vcpuMetrics() == "y 2\n" },
      .init("GET /openapi.yaml", "openapi: 3.1.0\n") { try $0.openAPI() == "openapi: 3.1.0\n" },
    ]
  }

  static func ofPools() throws -> [OperationCase] {
    let poolJSON = try json(pool)
    let declaration = DeclarePoolDocument(image: "spin", ready: ReadyRange(2))
    let body = try json(declaration)
    return [
      .init("GET /v1/pools?limit=1000", #"{"items":[\#(poolJSON)],"next_page_token":null}"#) {
        try $0.pools() == [pool]
      },
      .init("GET /v1/pools/demo", poolJSON) { try $0.pool("demo") == pool },
      .init("GET /v1/pools/demo?tenant=acme", poolJSON) { try $0.pool("demo", tenant: "acme") == pool },
      .init("GET /v1/pools/demo", answerHeaders: [#"ETag: "7""#], poolJSON) {
        try $0.taggedPool("demo") == (pool, #""7""#)
      },
      .init("GET /v1/pools/demo", poolJSON) { try $0.taggedPool("demo").tag == nil },
      .init("PUT /v1/pools/demo", body: body, headers: ["If-Match": "", "If-None-Match": ""], poolJSON) {
        try $0.putPool("demo", declaration: declaration) == pool
      },
      .init("PUT /v1/pools/demo", body: body, headers: ["If-Match": #""7""#, "If-None-Match": ""], poolJSON) {
        try $0.putPool("demo", declaration: declaration, if: .unchanged(since: #""7""#)) == pool
      },
      .init(
        "PUT /v1/pools/demo", body: body, headers: ["If-None-Match": "*", "If-Match": ""], status: 201, poolJSON
      ) {
        try $0.putPool("demo", declaration: declaration, if: .absent) == pool
      },
      .init("DELETE /v1/pools/demo", "") { try $0.deletePool("demo") == nil },
      .init("DELETE /v1/pools/demo?force=true", headers: ["If-Match": #""7""#], "") {
        try $0.deletePool("demo", force: true, if: .unchanged(since: #""7""#)) == nil
      },
      .init("DELETE /v1/pools/demo", status: 202, poolJSON) { try $0.deletePool("demo") == pool },
    ]
  }

  /// What a patch says, and nothing else.
  static func ofPatches() throws -> [OperationCase] {
    typealias Case = (body: String, change: @Sendable (inout PoolChanges) -> Void)
    let cases: [Case] = [
      ("{}", { _ in }),
      (#"{"image":"echo"}"#, { $0.image = "echo" }),
      (#"{"vcpus":2,"memory_mib":4}"#, { ($0.vcpus, $0.memoryMiB) = (2, 4) }),
      (#"{"ready":{"min":1,"max":3}}"#, { $0.ready = ReadyRange(min: 1, max: 3) }),
      (#"{"max_vms":9,"deadline_ms":5}"#, { ($0.maxVMs, $0.deadlineMS) = (.value(9), .value(5)) }),
      (#"{"max_vms":null,"deadline_ms":null}"#, { ($0.maxVMs, $0.deadlineMS) = (.standard, .standard) }),
      (#"{"refill":{"concurrency":2}}"#, { $0.refillConcurrency = .value(2) }),
      (#"{"refill":{"concurrency":null}}"#, { $0.refillConcurrency = .standard }),
      (#"{"paused":false}"#, { $0.paused = false }),
      (#"{"probe_interval_ms":20}"#, { $0.probeIntervalMS = .value(20) }),
      (#"{"probe_interval_ms":null}"#, { $0.probeIntervalMS = .standard }),
      (#"{"ready_when":"started","ready_timeout_ms":5}"#, { ($0.readyWhen, $0.readyTimeoutMS) = (.started, 5) }),
      (#"{"on_release":"reset","verify_reset":"off"}"#, { ($0.onRelease, $0.verifyReset) = (.reset, .off) }),
      (#"{"ready_when":{"console":"x"}}"#, { $0.readyWhen = .console("x") }),
      (#"{"ready_when":{"after_ms":7}}"#, { $0.readyWhen = .afterMS(7) }),
    ]
    let poolJSON = try json(pool)
    return cases.map { body, change in
      .init("PATCH /v1/pools/demo", body: body, type: "application/merge-patch+json", poolJSON) {
        var changes = PoolChanges()
        change(&changes)
        return try $0.patchPool("demo", changes: changes) == pool
      }
    }
  }

  static func ofAudit() throws -> [OperationCase] {
    let entry = AuditEntryDocument(
      id: 7, at: "2025-01-31T12:00:00.000Z", who: "uid 7", tenant: "acme", action: "pool.declare", subject: "web",
      result: "done")
    let entryJSON = try json(entry)
    return [
      // The answer names a next page. The client did not ask for it.
      .init("GET /v1/audit?limit=1", #"{"items":[\#(entryJSON)],"next_page_token":"7"}"#) {
        try $0.audit(most: 1) == [entry]
      },
      .init("GET /v1/audit?tenant=acme&who=uid%207&limit=1000", #"{"items":[],"next_page_token":null}"#) {
        try $0.audit(tenant: "acme", who: "uid 7", most: 5000).isEmpty
      },
    ]
  }

  static func ofKeys() throws -> [OperationCase] {
    let key = KeyDocument(
      id: "key-1", key: "vmp_x", tenant: "acme", scopes: ["read"], createdAt: "2025-01-31T12:00:00.000Z")
    let (keyJSON, request) = (try json(key), CreateKeyDocument(tenant: "acme", scopes: ["read"], ttlMS: 5000, rate: 7))
    return [
      .init("POST /v1/keys", body: try json(request), headers: ["Idempotency-Key": ""], status: 201, keyJSON) {
        try $0.createKey(request) == key
      },
      .init("GET /v1/keys?limit=1000", #"{"items":[\#(keyJSON)],"next_page_token":null}"#) { try $0.keys() == [key] },
      .init("GET /v1/keys?tenant=acme&limit=1000", #"{"items":[],"next_page_token":null}"#) {
        try $0.keys(tenant: "acme").isEmpty
      },
      .init("GET /v1/keys/key-1", keyJSON) { try $0.key("key-1") == key },
      .init("DELETE /v1/keys/key-1", status: 204, "") {
        try $0.revokeKey("key-1")
        return true
      },
    ]
  }

  static func ofLeases() throws -> [OperationCase] {
    let (leaseJSON, vmJSON, outcomeJSON) = (try json(lease), try json(vm), try json(outcome))
    let request = LeaseRequestDocument(ttlMS: 5, waitMS: 6, start: false, labels: ["a": "b"])
    let input = RunRequestDocument(inputBase64: "aGk=", deadlineMS: 7)
    return [
      .init("POST /v1/pools/demo/leases", body: try json(request), headers: ["Idempotency-Key": ""], leaseJSON) {
        try $0.lease(from: "demo", request) == lease
      },
      .init(
        "POST /v1/pools/demo/leases", body: try json(LeaseRequestDocument()), headers: ["Idempotency-Key": "k"],
        leaseJSON
      ) {
        try $0.lease(from: "demo", idempotencyKey: "k") == lease
      },
      .init("GET /v1/leases?limit=1000", #"{"items":[\#(leaseJSON)],"next_page_token":null}"#) {
        try $0.leases() == [lease]
      },
      .init("GET /v1/leases?pool=demo&limit=1000", #"{"items":[],"next_page_token":null}"#) {
        try $0.leases(pool: "demo").isEmpty
      },
      .init("GET /v1/leases/lease-1", leaseJSON) { try $0.lease("lease-1") == lease },
      .init("PATCH /v1/leases/lease-1", body: #"{"ttl_ms":9,"shorten":null}"#, leaseJSON) {
        try $0.extendLease("lease-1", ttlMS: 9) == lease
      },
      .init("DELETE /v1/leases/a%2Fb", "") {
        try $0.releaseLease("a/b")
        return true
      },
      .init("POST /v1/pools/demo/run", body: try json(input), headers: ["Idempotency-Key": "k"], outcomeJSON) {
        try $0.run(in: "demo", input, idempotencyKey: "k") == outcome
      },
      .init("GET /v1/vms/\(id)?wait_for=stopped&timeout_ms=5", headers: ["Lease-Fence": "7"], vmJSON) {
        try $0.vm(id, waitFor: "stopped", timeoutMS: 5, fence: 7) == vm
      },
    ]
  }

  /// All that can be done under a lease.
  static func underALease() throws -> [OperationCase] {
    let vmJSON = try json(vm)
    func fenced(
      _ request: String, _ body: String?, _ answer: String, type: String = "application/json",
      _ isUnderstood: @escaping @Sendable (VMPoolClient) throws -> Bool
    ) -> OperationCase {
      .init(request, body: body, type: type, headers: ["Lease-Fence": "\(UInt64.max)"], answer, isUnderstood)
    }
    return [
      fenced("GET /v1/vms/\(id)", nil, vmJSON) { try $0.vm(id, fence: .max) == vm },
      fenced("POST /v1/vms/\(id)/start", "", vmJSON) { try $0.startVM(id, fence: .max) == vm },
      fenced("POST /v1/vms/\(id)/pause", "", vmJSON) { try $0.pauseVM(id, fence: .max) == vm },
      fenced("POST /v1/vms/\(id)/resume", "", vmJSON) { try $0.resumeVM(id, fence: .max) == vm },
      fenced("POST /v1/vms/\(id)/stop", "", vmJSON) { try $0.stopVM(id, fence: .max) == vm },
      fenced("POST /v1/vms/\(id)/vcpus/1/kick", try json(KickRequestDocument()), try json(kick)) {
        try $0.kick(vcpu: 1, of: id, fence: .max) == kick
      },
      fenced("POST /v1/vms/\(id)/kick", try json(KickRequestDocument()), #"{"vm":"\#(id)","kicks":[]}"#) {
        try $0.kickAll(of: id, fence: .max).kicks.isEmpty
      },
      fenced("POST /v1/vms/\(id)/console", "x", #"{"accepted":1}"#, type: "application/octet-stream") {
        try $0.writeConsole(of: id, Array("x".utf8), fence: .max) == 1
      },
      fenced("DELETE /v1/vms/\(id)", nil, "") {
        try $0.deleteVM(id, fence: .max)
        return true
      },
    ]
  }
}

@Suite struct OperationTests {
  @Test(
    arguments: try OperationCase.all() + OperationCase.ofPools() + OperationCase.ofPatches() + OperationCase.ofLeases()
      + OperationCase.underALease() + OperationCase.ofKeys() + OperationCase.ofAudit())
  func sendsAndUnderstands(operation: OperationCase) throws {
    try withServer([operation.answer]) { client, server throws in
      #expect(try operation.isUnderstood(client))
      let request = server.requests[0]
      #expect(request.line == "\(operation.request) HTTP/1.1")
      #expect(String(decoding: request.body, as: UTF8.self) == operation.body ?? "")
      #expect((request.header("Content-Length") != nil) == (operation.body != nil))
      #expect(request.header("Content-Type") == (operation.body ?? "" == "" ? nil : operation.type))
      for (name, value) in operation.headers { #expect(request.header(name) ?? "" == value, "\(name)") }
    }
  }

  @Test func ignoresMembersOfANewerServer() throws {
    let newer = String(try json(vm).dropLast()) + #","colour":{"deep":[1,2.5,null]}}"#
    try withServer([.http(200, newer)]) { client, _ throws in #expect(try client.vm(id) == vm) }
  }

  @Test func writesNullWhereTheDocumentsSayNull() throws {
    #expect(try json(vm).contains(#""pool":null"#))
    #expect(try json(kick).contains(#""signal_latency_ns":null"#))
    #expect(try json(Page<VMDocument>(items: [], nextPageToken: nil)) == #"{"items":[],"next_page_token":null}"#)
    let problem = Problem(type: "t", title: "t", status: 400, detail: "d", pointer: "/a")
    #expect(try json(problem) == #"{"type":"t","title":"t","status":400,"detail":"d","pointer":"/a"}"#)
  }

  @Test func followsThePages() throws {
    let first = try #"{"items":[\#(json(vm))],"next_page_token":"a&b"}"#
    let last = try #"{"items":[\#(json(vm))],"next_page_token":null}"#
    try withServer([.http(200, first), .http(200, last)]) { client, server throws in
      #expect(try client.vms().count == 2)
      #expect(server.requests.map(\.line)[1] == "GET /v1/vms?limit=1000&page_token=a%26b HTTP/1.1")
    }
  }

  @Test func doesNotGoRoundInCircles() throws {
    let page = #"{"items":[],"next_page_token":"x"}"#
    try withServer([.http(200, page), .http(200, page), .http(200, page)]) { client, server throws in
      #expect { try client.pools() } throws: {
        if case .protocolViolation = $0 as? APIError { true } else { false }
      }
      #expect(server.requests.count == 2)
    }
  }

  @Test func carriesConsoleBytesUnchanged() throws {
    let bytes = [UInt8](0...255)
    let headers = ["X-Console-Start-Offset: 44", "X-Console-Next-Offset: 300"]
    let output = ScriptedServer.Answer.http(200, type: "application/octet-stream", headers: headers, body: bytes)
    try withServer([output, .http(200, #"{"accepted":200}"#)]) { client, server throws in
      let read = try client.readConsole(of: id, offset: 3)
      #expect(read.bytes == bytes)
      #expect((read.startOffset, read.nextOffset) == (44, 300))
      #expect(try client.writeConsole(of: id, bytes) == 200)
      #expect(server.requests[0].line == "GET /v1/vms/\(id)/console?offset=3&limit=65536 HTTP/1.1")
      #expect(server.requests[1].body == bytes)
      #expect(server.requests[1].header("Content-Type") == "application/octet-stream")
    }
  }

  @Test(arguments: [#"{"accepted":3}"#, #"{"accepted":-1}"#, "{}"])
  func distrustsAnImpossibleCount(answer: String) throws {
    try withServer([.http(200, answer)]) { client, _ throws in
      #expect { try client.writeConsole(of: id, [1, 2]) } throws: {
        if case .protocolViolation = $0 as? APIError { true } else { false }
      }
    }
  }

  @Test(arguments: [[], ["X-Console-Next-Offset: 1"], ["X-Console-Start-Offset: 0", "X-Console-Next-Offset: -1"]])
  func distrustsOutputWithoutOffsets(headers: [String]) throws {
    let answer = ScriptedServer.Answer.http(200, type: "application/octet-stream", headers: headers, "a")
    try withServer([answer]) { client, _ throws in
      #expect { try client.readConsole(of: id, offset: 0) } throws: {
        if case .protocolViolation = $0 as? APIError { true } else { false }
      }
    }
  }
}

@Suite struct RefusalTests {
  @Test(arguments: ["application/problem+json", "Application/Problem+JSON; charset=utf-8"])
  func becomesTheProblem(type: String) throws {
    let problem = Problem(
      type: "/problems/wrong-state", title: "Wrong state", status: 409, detail: "It is stopped.", requestID: "r-1",
      pointer: "/a", state: "stopped")
    let answer = try ScriptedServer.Answer.http(409, type: type, String(json(problem).dropLast()) + #","more":1}"#)
    try withServer([answer, .http(503, type: type, #"{"type":"t","title":"t","status":503,"detail":"d"}"#)]) {
      client, _ throws in
      #expect { try client.startVM(id) } throws: {
        if case .problem(let received) = $0 as? APIError { received == problem } else { false }
      }
      #expect { try client.openAPI() } throws: {
        if case .problem(let received) = $0 as? APIError {
          received.status == 503 && received.pointer == nil
        } else {
          false
        }
      }
    }
  }

  @Test(arguments: [
    ScriptedServer.Answer.http(431, type: "text/html", "<html>"),
    .http(404, type: "application/problem+json", "{}"),
    .http(500, type: "application/problem+json", "not JSON"),
    .http(404, type: "application/json", #"{"type":"t","title":"t","status":404,"detail":"d"}"#),
    .http(302, type: "text/html", headers: ["Location: /elsewhere"]),
    .http(200, type: "application/json", "not JSON"),
    .http(200, type: "application/json", #"{"id":1}"#),
    .http(200, type: "application/json", ""),
  ])
  func orIsNoAnswerOfThisAPI(answer: ScriptedServer.Answer) throws {
    try withServer([answer]) { client, server throws in
      #expect { try client.vm(id) } throws: {
        switch $0 as? APIError {
        case .foreign(server.endpoint, let what), .protocolViolation(let what): what.contains("GET /v1/vms/\(id)")
        default: false
        }
      }
      #expect(server.requests.count == 1)
    }
  }
}
