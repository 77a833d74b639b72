import Access
import CommandLineSupport
import Testing

@Suite struct KeyGrantTests {
  @Test func optionsMakeAGrant() throws {
    let options = try KeyGrantOptions.parse([
      "--tenant", "acme", "--scopes", "lease,run", "--pools", "web,batch", "--expires", "90d", "--note", "CI", "--rate",
      "10",
      "--burst", "20", "--concurrency", "4",
    ])
    let expected = KeyGrant(
      tenant: try #require(Tenant("acme")), scopes: [.lease, .run], pools: ["web", "batch"], note: "CI",
      limits: KeyLimits(rate: 10, burst: 20, concurrency: 4))
    #expect(options.grant == expected)
    #expect(options.ttlMS == 90 * 86_400_000)
    let least = try KeyGrantOptions.parse(["--tenant", "default", "--scopes", "admin"])
    #expect(least.grant == KeyGrant(tenant: .standard, scopes: .admin))
    #expect(least.ttlMS == nil)
  }

  @Test(arguments: [
    ["--scopes", "read"], ["--tenant", "acme"], ["--tenant", "Acme", "--scopes", "read"],
    ["--tenant", "a", "--scopes", ""], ["--tenant", "a", "--scopes", "read,"], ["--tenant", "a", "--scopes", "write"],
    ["--tenant", "a", "--scopes", "read", "--pools", ""], ["--tenant", "a", "--scopes", "read", "--pools", "x,/"],
    ["--tenant", "a", "--scopes", "read", "--expires", "0"], ["--tenant", "a", "--scopes", "read", "--rate", "0"],
    ["--tenant", "a", "--scopes", "read", "--burst", "2"],
    ["--tenant", "a", "--scopes", "read", "--concurrency", "1000001"],
    ["--tenant", "a", "--scopes", "read", "--note", String(repeating: "a", count: 257)],
  ])
  func refuses(words: [String]) {
    #expect(throws: (any Error).self) { try KeyGrantOptions.parse(words) }
  }
}
