import Access
import Testing

@Suite struct AccessRulesTests {
  private let acme: Tenant
  private let rules: AccessRules

  init() throws {
    acme = try #require(Tenant("acme"))
    let other = try #require(Tenant("other"))
    rules = AccessRules(
      unix: [
        .init(.user(1000), .init(tenant: acme, scopes: [.read, .run])),
        .init(.group(2000), .init(tenant: other, scopes: [.read])),
        .init(.user(1001), .init(tenant: acme, scopes: [.admin])),
      ],
      certificates: ["CN=caf\u{e9},O=Acme": .init(tenant: acme, scopes: [.lease])])
  }

  private func principal(_ uid: UInt32, gid: UInt32 = 1, groups: [UInt32] = []) -> Principal? {
    rules.principal(ofProcess: uid, gid: gid, groups: groups, serverUID: 990)
  }

  @Test func rootAndTheServersOwnUserAreOperatorsWhateverTheRulesSay() {
    for rules in [rules, .unconfigured, AccessRules(unix: [.init(.user(0), .init(tenant: acme, scopes: [.read]))])] {
      for uid: UInt32 in [0, 990] {
        let principal = rules.principal(ofProcess: uid, gid: 5, groups: [], serverUID: 990)
        #expect(principal == .anOperator(id: "uid \(uid)"))
      }
    }
  }

  /// Users that a container's namespace lacks all come under that number, and a container may well run as it.
  @Test func theUserThatStandsForManyIsNoOperator() {
    #expect(rules.principal(ofProcess: 65_534, gid: 1, groups: [], serverUID: 65_534) == nil)
  }

  @Test func theFirstRuleThatMatchesHolds() {
    #expect(principal(1000) == Principal(id: "uid 1000", tenant: acme, scopes: [.read, .run]))
    #expect(principal(1000, gid: 2000)?.tenant == acme)
    #expect(principal(1001, groups: [2000])?.scopes == [.read])
    #expect(principal(1001)?.isOperator == true)
  }

  @Test func aGroupMayBeTheProcesssOwnOrASupplementaryOne() {
    #expect(principal(7, gid: 2000)?.tenant.name == "other")
    #expect(principal(7, groups: [1, 2000, 3])?.tenant.name == "other")
    #expect(principal(7, gid: 3, groups: [1, 4]) == nil)
    // A user's number is no group's.
    #expect(principal(2000) == nil)
    #expect(principal(7, gid: 1000, groups: [1001]) == nil)
  }

  @Test func aCertificateIsKnownByItsWholeSubject() {
    #expect(
      rules.principal(ofCertificate: "CN=caf\u{e9},O=Acme")
        == Principal(id: "CN=caf\u{e9},O=Acme", tenant: acme, scopes: [.lease]))
    for subject in ["", "CN=caf\u{e9}", "CN=cafe\u{301},O=Acme", "CN=caf\u{e9}, O=Acme", "cn=caf\u{e9},O=Acme"] {
      #expect(rules.principal(ofCertificate: subject) == nil, "\(subject)")
    }
  }

  @Test func onlyASectionCloses() {
    #expect(AccessRules().isClosed)
    #expect(!AccessRules.unconfigured.isClosed)
    #expect(!AccessRules.unconfigured.metricsAreOpen)
    #expect(AccessRules.unconfigured.principal(ofProcess: 1000, gid: 1000, groups: [], serverUID: 990) == nil)
  }
}
