import HTTPServer
import Testing

@testable import vmpoold

struct ListenRuleTests {
  private let local: [ListenAddress] = [
    .tcp(host: "127.0.0.1", port: 1), .tcp(host: "::1", port: 1), .unix(path: "/s"),
  ]
  private let open = ListenAddress.tcp(host: "0.0.0.0", port: 8080)

  @Test(arguments: [false, true], [false, true]) func thisMachineMayAlways(hasTLS: Bool, isClosed: Bool) {
    #expect(ListenRule(hasTLS: hasTLS, isClosed: isClosed).refusal(of: local) == nil)
  }

  @Test func aNetworkNeedsTLSAndWhoItIs() throws {
    #expect(ListenRule(hasTLS: true, isClosed: true).refusal(of: local + [open]) == nil)
    for isClosed in [false, true] {
      let refusal = try #require(ListenRule(hasTLS: false, isClosed: isClosed).refusal(of: local + [open]))
      #expect(refusal.exitStatus == 64)
      #expect(refusal.messages[0].contains("0.0.0.0:8080") && refusal.messages[0].contains("--tls-cert"))
    }
    let refusal = try #require(ListenRule(hasTLS: true, isClosed: false).refusal(of: local + [open]))
    #expect(refusal.exitStatus == 78)
    #expect(refusal.messages[0].contains("0.0.0.0:8080") && refusal.messages[0].contains("vmpoold create-key"))
    #expect([refusal].allSatisfy { $0.messages.count == 1 })
  }
}
