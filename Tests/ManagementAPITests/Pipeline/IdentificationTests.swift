import APIModel
import Access
import Control
import HTTPServer
import PoolManager
import StateStore
import Testing

@testable import ManagementAPI

/// Who makes a request, and whether they may.
@Suite struct IdentificationTests {
  /// A harness whose keys are the state's.
  private let harness = Harness(factory: StubFactory())

  private func key(_ scopes: Scopes, _ change: (inout KeyGrant) -> Void = { _ in }) throws -> IssuedKey {
    var grant = KeyGrant(tenant: .standard, scopes: scopes)
    change(&grant)
    return try harness.api.keys.make(grant, ttlMS: nil, isClosed: true, by: .server)
  }

  private func send(_ method: String, _ target: String, _ body: String = "", key: String?) -> Reply {
    let credentials = key.map { [("Authorization", "Bearer \($0)")] } ?? []
    return harness.send(method, target, body, headers: [("Host", "localhost")] + credentials)
  }

  @Test func aServerWithoutKeysIsOpenAndOneWithAKeyIsClosedForGood() throws {
    #expect(harness.send("GET", "/v1/host").status == 200)
    let issued = try key(.admin)
    let refused = harness.send("GET", "/v1/host")
    refused.expectProblem(401, .unauthenticated)
    #expect(refused["WWW-Authenticate"] == "Bearer realm=\"vmpool\"")
    #expect(send("GET", "/v1/host", key: issued.text.text).status == 200)
    try harness.api.keys.revoke(issued.record.id, by: .server)
    harness.send("GET", "/v1/host").expectProblem(401, .unauthenticated)
    send("GET", "/v1/host", key: issued.text.text).expectProblem(401, .unauthenticated)
  }

  /// Also where the server is open: a client that presents a key means it.
  @Test(arguments: ["vmp_", "nothing", "", KeyText.random().text]) func aKeyThatIsNoneIsRefused(text: String) {
    send("GET", "/v1/host", key: text).expectProblem(401, .unauthenticated)
  }

  @Test func refusalsDoNotSayWhatIsWrongWithAKey() throws {
    let revoked = try key(.admin)
    try harness.api.keys.revoke(revoked.record.id, by: .server)
    let answers = [revoked.text.text, KeyText.random().text, "vmp_x"].map { send("GET", "/v1/host", key: $0).text }
    #expect(Set(answers).count == 1)
  }

  @Test func theSchemeIsBearerInAnyCase() throws {
    let text = try key([.read]).text.text
    for (credentials, status) in [
      ("bearer \(text)", 200), ("BEARER \(text)", 200), (text, 401), ("Basic \(text)", 401), ("Bearer", 401),
      ("Bearer  \(text)", 401), ("Bearer \(text) ", 401),
    ] {
      let reply = harness.send("GET", "/v1/host", headers: [("Host", "localhost"), ("Authorization", credentials)])
      #expect(reply.status == status, "\(credentials)")
    }
  }

  @Test func whatNeedsNoScopeNeedsNoKey() throws {
    _ = try key(.admin)
    for path in ["/livez", "/readyz", "/openapi.yaml", "/", "/docs", "/problems/unauthenticated"] {
      #expect(harness.send("GET", path).status == 200, "\(path)")
      #expect(send("GET", path, key: "nonsense").status == 200, "\(path)")
    }
  }

  @Test(arguments: Route.all.indices) func everyOperationWantsItsScope(index: Int) throws {
    let route = Route.all[index]
    guard let scope = route.scope else { return }
    let values = [
      "vm": "vm-0000000000000000", "lease": "lease-0000000000000000", "index": "0", "image": "a", "pool": "a",
      "digest": "sha256:" + String(repeating: "0", count: 64), "kind": "draining", "key_id": "key-0000000000000000",
    ]
    let path = values.reduce(route.template) { $0.replacing("{\($1.key)}", with: $1.value) }
    for other in Scope.allCases {
      let reply = send(route.method.rawValue, path, key: try key(Scopes(other)).text.text)
      if other == scope || other == .admin {
        #expect(reply.status != 401 && reply.status != 403, "\(route.operationID) with \(other): \(reply.text)")
      } else {
        reply.expectProblem(403, .scopeMissing)
        #expect(reply.text.contains(" needs the scope \(scope.rawValue), "))
      }
    }
  }

  @Test func changesAreRecordedUnderTheKeysID() throws {
    let issued = try key([.pools])
    #expect(send("PUT", "/v1/pools/a", #"{"image":"spin","ready":0}"#, key: issued.text.text).status == 201)
    let entries = try harness.state.audit(after: 0, limit: 10).map(\.entry)
    #expect(entries.last { $0.action == "pool.declare" }?.who == issued.record.id)
  }

  @Test func aKeyThatIsBoundToPoolsFindsNoOther() throws {
    let all = try key(.admin).text.text
    for name in ["web", "batch"] {
      #expect(send("PUT", "/v1/pools/\(name)", #"{"image":"spin","ready":0}"#, key: all).status == 201)
    }
    let bound = try key([.read, .control]) { $0.pools = ["web", "none"] }.text.text
    #expect(send("GET", "/v1/pools/web", key: bound).status == 200)
    let foreign = send("GET", "/v1/pools/batch", key: bound)
    foreign.expectProblem(404, .poolNotFound)
    #expect(foreign.text.replacing("batch", with: "none") == send("GET", "/v1/pools/none", key: bound).text)
    let made = try send("POST", "/v1/vms", #"{"image":"spin"}"#, key: all).document(VMDocument.self)
    send("GET", "/v1/vms/\(made.id)", key: bound).expectProblem(404, .vmNotFound)
    #expect(send("GET", "/v1/vms/\(made.id)", key: all).status == 200)
  }

  // MARK: Without a key

  private func closed(_ change: (inout AccessPolicy) -> Void) -> Harness {
    Harness(
      factory: StubFactory(),
      configure: { configuration in
        configuration.access.isConfigured = { true }
        change(&configuration.access)
      })
  }

  @Test func theConfigurationClosesAServerWithoutKeys() {
    closed { _ in }.send("GET", "/v1/host").expectProblem(401, .unauthenticated)
  }

  @Test func theConfigurationMapsWhatAConnectionProves() throws {
    let acme = try #require(Tenant("acme"))
    let harness = closed { policy in
      policy.principal = { proof in
        proof == .nothing ? Principal(id: "uid 7", tenant: acme, scopes: [.read]) : nil
      }
    }
    #expect(harness.send("GET", "/v1/host").status == 200)
    harness.send("DELETE", "/v1/pools/a").expectProblem(403, .scopeMissing)
  }

  @Test func metricsAreClosedUnlessTheConfigurationOpensThem() {
    closed { _ in }.send("GET", "/metrics").expectProblem(401, .unauthenticated)
    let open = closed { $0.metricsAreOpen = { true } }
    #expect(open.send("GET", "/metrics").status == 200)
    #expect(open.send("GET", "/metrics/vcpus").status == 200)
    open.send("GET", "/v1/host").expectProblem(401, .unauthenticated)
  }

  // MARK: Limits

  @Test func aKeyPastItsRateIsToldWhenToComeBack() throws {
    let text = try key([.read]) { $0.limits = KeyLimits(rate: 1, burst: 2) }.text.text
    for _ in 0..<2 { #expect(send("GET", "/v1/host", key: text).status == 200) }
    let reply = send("GET", "/v1/host", key: text)
    reply.expectProblem(429, .rateLimited)
    #expect(reply["Retry-After"] == "1")
    #expect(reply["RateLimit-Policy"] == "\"key\";q=2;w=2")
    #expect(reply["RateLimit"] == "\"key\";r=0;t=1")
    // Another's requests are none of its own.
    #expect(send("GET", "/v1/host", key: try key([.read]).text.text).status == 200)
  }

  @Test func requestsThatAreOverDoNotCount() throws {
    let text = try key([.read, .pools]) { $0.limits = KeyLimits(concurrency: 1) }.text.text
    for _ in 0..<5 {
      #expect(send("GET", "/v1/host", key: text).status == 200)
      #expect(send("GET", "/v1/pools/none", key: text).status == 404)
      #expect(send("GET", "/v1/images", key: text).status == 200)
      #expect(send("PUT", "/v1/pools/x", "nonsense", key: text).status == 400)
    }
  }
}

extension Reply {
  fileprivate func expectProblem(
    _ status: Int, _ kind: ProblemKind, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(self.status == status, "\(text)", sourceLocation: sourceLocation)
    #expect(problem?.kind == kind.rawValue, sourceLocation: sourceLocation)
  }
}
