import Access
import Testing

@Suite struct AccessTests {
  @Test func adminAllowsEverythingAndAnyOtherScopeItself() {
    for scope in Scope.allCases {
      #expect(Scopes.admin.allows(scope))
      for other in Scope.allCases where other != .admin {
        #expect(Scopes(other).allows(scope) == (scope == other), "\(other) and \(scope)")
      }
    }
    #expect(Scopes([.run, .lease]).all == [.lease, .run])
    #expect(Scopes([]).all.isEmpty)
  }

  @Test(arguments: ["", "A", "1a", "-a", "a_b", "a/b", "a b", "\u{e4}", String(repeating: "a", count: 64)])
  func whatHasNotTheFormIsNoTenant(name: String) {
    #expect(Tenant(name) == nil)
  }

  @Test func namesOfTenantsDoNotMeet() throws {
    let acme = try #require(Tenant("acme"))
    #expect(acme.qualified("web") == "acme/web")
    #expect(Tenant.standard.qualified("web") == "web")
    #expect(try #require(Tenant("default")) == .standard)
    for tenant in [acme, .standard] { #expect(Tenant.split(tenant.qualified("web")) == (tenant, "web")) }
  }

  @Test func anOperatorSeesAllTenantsAndOthersTheirOwn() throws {
    let acme = try #require(Tenant("acme"))
    #expect(Principal.anOperator(id: "unix").sees(acme))
    let user = Principal(id: "key-1", tenant: acme, scopes: [.read, .pools])
    #expect(user.sees(acme))
    #expect(!user.sees(.standard))
  }
}
