import Access
import Testing

@Suite struct CurrentAccessTests {
  @Test func aServerIsOpenUntilAFileClosesIt() throws {
    let access = CurrentAccess()
    #expect(access.rules == .unconfigured)
    #expect(!access.replace(rules: nil))
    #expect(!access.rules.isClosed)
    #expect(!access.replace(rules: AccessRules(metricsAreOpen: true)))
    #expect(access.rules == AccessRules(metricsAreOpen: true))
  }

  @Test func aSectionThatIsGoneTakesItsRulesAlongAndOpensNothing() throws {
    let acme = try #require(Tenant("acme"))
    let access = CurrentAccess()
    _ = access.replace(
      rules: AccessRules(metricsAreOpen: true, unix: [.init(.user(1000), .init(tenant: acme, scopes: [.read]))]))
    for _ in 0..<2 {
      #expect(access.replace(rules: nil))
      #expect(access.rules == AccessRules())
    }
  }
}
