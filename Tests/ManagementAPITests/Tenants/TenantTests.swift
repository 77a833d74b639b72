import APIModel
import Access
import Control
import Foundation
import PoolManager
import TestSupport
import Testing

@testable import ManagementAPI

/// Two tenants, each with a key, on one server.
private struct Tenants {
  static let acme = Tenant("acme")!
  static let beta = Tenant("beta")!

  let harness: Harness
  let acme: [(String, String)]
  let beta: [(String, String)]
  let operatorKey: [(String, String)]

  init(limits: FleetLimits = FleetLimits()) throws {
    harness = Harness(factory: StubFactory(), limits: limits)
    operatorKey = try harness.client(.standard, scopes: [.admin])
    acme = try harness.client(Self.acme)
    beta = try harness.client(Self.beta)
  }

  func send(_ who: [(String, String)], _ method: String, _ target: String, _ body: String = "") -> Reply {
    harness.send(method, target, body, headers: who)
  }

  /// Declares a pool, and waits until it is full.
  func declare(_ who: [(String, String)], _ name: String, ready: Int = 2, _ more: String = "") throws {
    let reply = send(who, "PUT", "/v1/pools/\(name)", #"{"image":"spin","ready":\#(ready)\#(more)}"#)
    try #require(reply.status == 201, "\(reply.text)")
    let end = Date().addingTimeInterval(30)
    while try send(who, "GET", "/v1/pools/\(name)").document(PoolDocument.self).status.ready < ready, Date() < end {
      usleep(1000)
    }
  }

  func lease(_ who: [(String, String)], _ pool: String) throws -> LeaseDocument {
    try send(who, "POST", "/v1/pools/\(pool)/leases").document(LeaseDocument.self)
  }

  func vms(_ who: [(String, String)], _ query: String = "") throws -> [String] {
    try send(who, "GET", "/v1/vms\(query)").document(Page<VMDocument>.self).items.map(\.id)
  }
}

@Suite struct TenantTests {
  /// Every operation on something that a path names: what is another tenant's is as if it were not there.
  @Test func whatIsAnothersIsNotThere() throws {
    let tenants = try Tenants()
    let bound = try tenants.harness.client(Tenants.acme, pools: ["other"])
    try tenants.declare(tenants.acme, "web")
    let lease = try tenants.lease(tenants.acme, "web")
    let gone = try tenants.lease(tenants.acme, "web")
    #expect(tenants.send(tenants.acme, "DELETE", "/v1/leases/\(gone.lease)").status == 204)
    let image = tenants.harness.send(
      "PUT", "/v1/images/tool?kind=flat&mode=real16", bytes: [0xF4, 0xF4],
      headers: tenants.acme + [("Content-Type", "application/octet-stream")])
    try #require(image.status == 201, "\(image.text)")
    // Two things of each kind: the first is acme's, and the second does not exist.
    let names: [String: (own: [String], absent: String)] = [
      "{vm}": ([lease.vm], "vm-0123456789abcdef"), "{pool}": (["web"], "none"),
      "{lease}": ([lease.lease, gone.lease], "lease-0123456789abcdef"), "{image}": (["tool"], "none"),
    ]
    var asked = 0
    for route in Route.all {
      guard let (parameter, (own, absent)) = names.first(where: { route.template.contains($0.key) }),
        // A PUT makes a pool or an image of one's own.
        route.method != .put
      else { continue }
      let body =
        switch route.body {
        case .none, .upload: ""
        case .json, .mergePatch: "{}"
        case .bytes: "x"
        }
      for (who, name) in [tenants.beta, bound].flatMap({ who in own.map { (who, $0) } }) {
        // Images are of no pool.
        if parameter == "{image}", who[1].1 == bound[1].1 { continue }
        let template = route.template.replacing("{index}", with: "0")
        let foreign = tenants.send(who, route.method.rawValue, template.replacing(parameter, with: name), body)
        let missing = tenants.send(who, route.method.rawValue, template.replacing(parameter, with: absent), body)
        #expect(foreign.status == missing.status, "\(route.method) \(route.template): \(foreign.text)")
        #expect([404].contains(foreign.status), "\(route.method) \(route.template): \(foreign.text)")
        #expect(foreign.text.replacing(name, with: absent) == missing.text, "\(route.method) \(route.template)")
        asked += 1
      }
    }
    #expect(asked > 40)
    // Nothing of that has happened.
    #expect(tenants.send(tenants.acme, "GET", "/v1/vms/\(lease.vm)").status == 200)
    #expect(tenants.send(tenants.acme, "GET", "/v1/leases/\(lease.lease)").status == 200)
    #expect(tenants.send(tenants.acme, "GET", "/v1/leases/\(gone.lease)").status == 410)
    #expect(tenants.send(tenants.acme, "GET", "/v1/images/tool").status == 200)
    // The operator finds them by their ids, and by their names where it says whose they are.
    #expect(tenants.send(tenants.operatorKey, "GET", "/v1/leases/\(lease.lease)").status == 200)
    #expect(tenants.send(tenants.operatorKey, "GET", "/v1/pools/web").status == 404)
    #expect(tenants.send(tenants.operatorKey, "GET", "/v1/pools/web?tenant=acme").status == 200)
    #expect(tenants.send(tenants.operatorKey, "GET", "/v1/images/tool?tenant=acme").status == 200)
  }

  @Test func listsShowOnesOwn() throws {
    let tenants = try Tenants()
    for who in [tenants.operatorKey, tenants.acme, tenants.beta] { try tenants.declare(who, "web", ready: 3) }
    var made: [String: [String]] = [:]
    for _ in 0..<3 {
      for (name, who) in [("acme", tenants.acme), ("beta", tenants.beta)] {
        let vm = try tenants.send(who, "POST", "/v1/vms", #"{"image":"spin"}"#).document(VMDocument.self)
        #expect(vm.tenant == name && vm.pool == nil)
        made[name, default: []].append(vm.id)
      }
    }
    let leases = try (0..<2).map { _ in try tenants.lease(tenants.acme, "web") }
    #expect(leases.allSatisfy { $0.tenant == "acme" && $0.pool == "web" })

    // Three of the pool, two or more made in the place of the leased ones, and those made by hand: all acme's.
    let own = try tenants.send(tenants.acme, "GET", "/v1/vms").document(Page<VMDocument>.self).items
    #expect(own.allSatisfy { $0.tenant == "acme" } && Set(own.map(\.id)).isSuperset(of: made["acme"] ?? []))
    #expect(Set(try tenants.vms(tenants.operatorKey)).isSuperset(of: (made["acme"] ?? []) + (made["beta"] ?? [])))
    #expect(try Set(tenants.vms(tenants.operatorKey, "?tenant=beta")) == Set(tenants.vms(tenants.beta)))
    // Page by page it is the same.
    var paged: [String] = []
    var token = ""
    repeat {
      let page = try tenants.send(tenants.beta, "GET", "/v1/vms?limit=2\(token)").document(Page<VMDocument>.self)
      paged += page.items.map(\.id)
      token = page.nextPageToken.map { "&page_token=\($0)" } ?? ""
    } while !token.isEmpty
    #expect(paged == (try tenants.vms(tenants.beta)))

    func pools(_ who: [(String, String)], _ query: String = "") throws -> [String] {
      try tenants.send(who, "GET", "/v1/pools\(query)").document(Page<PoolDocument>.self).items
        .map { "\($0.tenant ?? "")/\($0.name)" }
    }
    #expect(try pools(tenants.acme) == ["acme/web"])
    #expect(try pools(tenants.operatorKey) == ["acme/web", "beta/web", "default/web"])
    #expect(try pools(tenants.operatorKey, "?tenant=default") == ["default/web"])
    let first = try tenants.send(tenants.operatorKey, "GET", "/v1/pools?limit=1").document(Page<PoolDocument>.self)
    #expect(try pools(tenants.operatorKey, "?page_token=\(first.nextPageToken ?? "")") == ["beta/web", "default/web"])

    func held(_ who: [(String, String)], _ query: String = "") throws -> Set<String> {
      Set(try tenants.send(who, "GET", "/v1/leases\(query)").document(Page<LeaseDocument>.self).items.map(\.lease))
    }
    #expect(try held(tenants.acme) == Set(leases.map(\.lease)))
    #expect(try held(tenants.acme, "?pool=web") == Set(leases.map(\.lease)))
    #expect(try held(tenants.beta).isEmpty && held(tenants.beta, "?pool=web").isEmpty)
    #expect(try held(tenants.operatorKey) == Set(leases.map(\.lease)))
    #expect(try held(tenants.operatorKey, "?tenant=beta").isEmpty)
  }

  /// The answer says nothing of whether there is such a tenant.
  @Test func onlyOperatorsNameOtherTenants() throws {
    let tenants = try Tenants()
    for target in ["/v1/vms", "/v1/leases", "/v1/pools", "/v1/images", "/v1/pools/web", "/v1/events"] {
      let (known, unknown) = (
        tenants.send(tenants.acme, "GET", target + "?tenant=beta"),
        tenants.send(tenants.acme, "GET", target + "?tenant=nobody")
      )
      #expect(known.problem?.kind == "scope-missing" && known.text == unknown.text)
      #expect(tenants.send(tenants.operatorKey, "GET", target + "?tenant=A").problem?.kind == "invalid-parameter")
    }
    #expect(tenants.send(tenants.acme, "GET", "/v1/vms?tenant=acme").status == 200)
  }

  @Test func aPoolIsSharedWithAll() throws {
    let tenants = try Tenants()
    try tenants.declare(tenants.operatorKey, "base", #","shared":true"#)
    try tenants.declare(tenants.operatorKey, "closed")
    #expect(tenants.send(tenants.acme, "GET", "/v1/pools/closed").status == 404)
    let pool = try tenants.send(tenants.acme, "GET", "/v1/pools/base").document(PoolDocument.self)
    #expect(pool.shared && pool.tenant == "default")
    let lease = try tenants.lease(tenants.acme, "base")
    #expect(lease.tenant == "acme")
    #expect(try tenants.vms(tenants.acme) == [lease.vm] && tenants.vms(tenants.beta).isEmpty)
    #expect(tenants.send(tenants.beta, "GET", "/v1/vms/\(lease.vm)").status == 404)
    // It is the operator's to change.
    #expect(tenants.send(tenants.acme, "DELETE", "/v1/pools/base").problem?.kind == "pool-not-found")
    #expect(tenants.send(tenants.acme, "PATCH", "/v1/pools/base", #"{"ready":0}"#).problem?.kind == "pool-not-found")
    // A pool of one's own comes first.
    try tenants.declare(tenants.acme, "base")
    let own = try tenants.lease(tenants.acme, "base")
    #expect(tenants.harness.fleet.lease(own.lease)?.pool == "acme/base")
    #expect(tenants.harness.fleet.lease(lease.lease)?.pool == "base")
    let refused = tenants.send(tenants.acme, "PUT", "/v1/pools/more", #"{"image":"spin","ready":1,"shared":true}"#)
    #expect(refused.problem?.pointer == "/shared")
    // A key that is bound to pools leases from a shared one that it names, and from no other.
    let bound = try tenants.harness.client(Tenants.beta, pools: ["base"])
    #expect(try tenants.lease(bound, "base").tenant == "beta")
    #expect(tenants.send(bound, "PUT", "/v1/pools/other", #"{"image":"spin","ready":1}"#).status == 404)
    #expect(tenants.send(bound, "POST", "/v1/vms", #"{"image":"spin"}"#).problem?.kind == "scope-missing")
  }

  @Test func quotasAreAnswered() throws {
    let tenants = try Tenants()
    try tenants.declare(tenants.operatorKey, "base", ready: 3, #","shared":true"#)
    tenants.harness.fleet.declareTenants([
      Tenants.acme: TenantDeclaration(quotas: TenantQuotas(vms: 2, leases: 1, streams: 0))
    ])
    _ = try tenants.lease(tenants.acme, "base")
    for target in ["/v1/pools/base/leases", "/v1/pools/base/run"] {
      let refused = tenants.send(tenants.acme, "POST", target).problem
      #expect(refused?.kind == "quota-exceeded")
      #expect(
        refused?.detail
          == "The tenant acme may have 1 leases (quota leases): give some back, or ask the operator for more.")
    }
    #expect(tenants.send(tenants.acme, "POST", "/v1/vms", #"{"image":"spin"}"#).status == 201)
    let vm = tenants.send(tenants.acme, "POST", "/v1/vms", #"{"image":"spin"}"#)
    #expect(vm.status == 429 && vm.problem?.detail.contains("(quota vms)") == true)
    #expect(tenants.send(tenants.acme, "GET", "/v1/events").problem?.detail.contains("(quota streams)") == true)
    #expect(try tenants.lease(tenants.beta, "base").tenant == "beta")
  }

  @Test func metricsAreOnesOwn() throws {
    let tenants = try Tenants()
    for who in [tenants.operatorKey, tenants.acme] {
      for pool in ["web", "batch"] { try tenants.declare(who, pool, ready: 1) }
    }
    func pools(_ who: [(String, String)]) -> Set<String> {
      let lines = tenants.send(who, "GET", "/metrics").text.split(separator: "\n")
      return Set(lines.compactMap { $0.firstMatch(of: /pool="([^"]*)"/).map { String($0.1) } })
    }
    #expect(pools(tenants.acme) == ["acme/web", "acme/batch"])
    #expect(pools(tenants.operatorKey).isSuperset(of: ["web", "batch", "acme/web", "acme/batch"]))
    // A key that is bound to pools has theirs alone, also one of the default tenant.
    #expect(pools(try tenants.harness.client(Tenants.acme, pools: ["web"])) == ["acme/web"])
    #expect(pools(try tenants.harness.client(.standard, pools: ["web"])) == ["web"])
    #expect(pools(tenants.beta).isEmpty)
  }

  @Test func idempotencyKeysAreATenants() throws {
    let tenants = try Tenants()
    try tenants.declare(tenants.operatorKey, "base", #","shared":true"#)
    let key = [("Idempotency-Key", "once")]
    func lease(_ who: [(String, String)]) throws -> String {
      try tenants.send(who + key, "POST", "/v1/pools/base/leases").document(LeaseDocument.self).lease
    }
    let (first, other) = (try lease(tenants.acme), try lease(tenants.beta))
    #expect(first != other)
    #expect(try lease(tenants.acme) == first && lease(tenants.beta) == other)
  }

  /// A kept answer is about the pool of the first request, which the second may not see.
  @Test func anAnswerAboutAPoolIsNotKeptForAKeyThatIsBoundToAnother() throws {
    let tenants = try Tenants()
    try tenants.declare(tenants.acme, "mine")
    let key = [("Idempotency-Key", "once")]
    #expect(tenants.send(tenants.acme + key, "POST", "/v1/pools/mine/leases").status == 201)
    let bound = try tenants.harness.client(Tenants.acme, pools: ["web"])
    #expect(tenants.send(bound + key, "POST", "/v1/pools/mine/leases").status == 404)
  }
}
