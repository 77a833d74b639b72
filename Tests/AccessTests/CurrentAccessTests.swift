import Access
import Testing

@Suite struct CurrentAccessTests {
  @Test func aServerIsOpenUntilAFileClosesIt() throws {
    let access = CurrentAccess()
    #expect(access.rules == .unconfigured)
    #expect(!access.replace(rules: nil, tenants: [:]))
    #expect(!access.rules.isClosed)
    #expect(!access.replace(rules: AccessRules(metricsAreOpen: true), tenants: [:]))
    #expect(access.rules == AccessRules(metricsAreOpen: true))
  }

  @Test func aSectionThatIsGoneTakesItsRulesAlongAndOpensNothing() throws {
    let acme = try #require(Tenant("acme"))
    let access = CurrentAccess()
    access.replace(
      rules: AccessRules(metricsAreOpen: true, unix: [.init(.user(1000), .init(tenant: acme, scopes: [.read]))]),
      tenants: [:])
    for _ in 0..<2 {
      #expect(access.replace(rules: nil, tenants: [:]))
      #expect(access.rules == AccessRules())
    }
  }

  @Test func tenantsThatTheFileDoesNotNameHaveNoLimits() throws {
    let (acme, other) = (try #require(Tenant("acme")), try #require(Tenant("other")))
    let access = CurrentAccess()
    let declaration = TenantDeclaration(weight: 3, quotas: TenantQuotas(vms: 4))
    access.replace(rules: nil, tenants: ["acme": declaration])
    #expect(access.declaration(of: acme) == declaration)
    #expect(access.declaration(of: other) == TenantDeclaration(weight: 1))
    access.replace(rules: nil, tenants: [:])
    #expect(access.declaration(of: acme) == TenantDeclaration())
  }
}
