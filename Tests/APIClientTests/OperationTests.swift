import APIClient
import APIModel
import JSONCodec
import Testing

private let id = "vm-5f0c2a9b1e7d"
private let vm = VMDocument(
  id: id, pool: nil, image: "spin", state: "running", vcpus: 1, memoryMiB: 2, createdAt: "2025-01-31T12:00:00.000Z",
  consoleBytes: 3, stop: nil)
private let pool = PoolDocument(
  name: "demo", image: "spin", vcpus: 1, memoryMiB: 2, ready: ReadyRange(2), maxVMs: nil, deadlineMS: nil,
  refill: RefillDocument(), paused: false, probeIntervalMS: nil, source: "api",
  status: PoolStatusDocument(
    ready: 1, outdated: 0, leased: 0, creating: 1, retiring: 0, quarantined: 0, waiting: 0, running: 0, paused: 0,
    stopped: 0, draining: false, refill: RefillStatusDocument(state: "ok", lastError: "no memory")))
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
  var answer: ScriptedServer.Answer
  var isUnderstood: @Sendable (VMPoolClient) throws -> Bool

  var testDescription: String { request }

  init(
    _ request: String, body: String? = nil, _ answer: String,
    _ isUnderstood: @escaping @Sendable (VMPoolClient) throws -> Bool
  ) {
    self.request = request
    self.body = body
    self.answer = .http(200, answer)
    self.isUnderstood = isUnderstood
  }

  static func all() throws -> [OperationCase] {
    let vmJSON = try json(vm)
    let poolJSON = try json(pool)
    let kickJSON = try json(kick)
    let creation = CreateVMDocument(image: "spin", vcpus: 3, start: false)
    let declaration = DeclarePoolDocument(image: "spin", ready: ReadyRange(2))
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
      .init("GET /v1/pools?limit=1000", #"{"items":[\#(poolJSON)],"next_page_token":null}"#) {
        try $0.pools() == [pool]
      },
      .init("GET /v1/pools/demo", poolJSON) { try $0.pool("demo") == pool },
      .init("PUT /v1/pools/demo", body: try json(declaration), poolJSON) {
        try $0.putPool("demo", declaration) == pool
      },
      .init("DELETE /v1/pools/demo", "") {
        try $0.deletePool("demo")
        return true
      },
      .init("GET /metrics", "x 1\n") { try $0.metrics() == "x 1\n" },
      .init("GET /metrics/vcpus", "y 2\n") { try $0.vcpuMetrics() == "y 2\n" },
      .init("GET /openapi.yaml", "openapi: 3.1.0\n") { try $0.openAPI() == "openapi: 3.1.0\n" },
    ]
  }
}

@Suite struct OperationTests {
  @Test(arguments: try OperationCase.all())
  func sendsAndUnderstands(operation: OperationCase) throws {
    try withServer([operation.answer]) { client, server throws in
      #expect(try operation.isUnderstood(client))
      let request = server.requests[0]
      #expect(request.line == "\(operation.request) HTTP/1.1")
      #expect(String(decoding: request.body, as: UTF8.self) == operation.body ?? "")
      #expect((request.header("Content-Length") != nil) == (operation.body != nil))
      #expect(request.header("Content-Type") == (operation.body ?? "" == "" ? nil : "application/json"))
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
      #expect { try client.checkReadiness() } throws: {
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
        if case .protocolViolation(let what) = $0 as? APIError { what.contains("GET /v1/vms/\(id)") } else { false }
      }
      #expect(server.requests.count == 1)
    }
  }
}
