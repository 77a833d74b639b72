import Access
import Testing

@testable import ServerConfiguration

/// What the sections `access:` and `tenants:` mean, and what is wrong in them.
struct AccessSectionTests {
  private func file(_ text: String) throws -> ConfigurationFile {
    try ConfigurationFile(parsing: Array("pools: {}\n\(text)".utf8), path: "f")
  }

  @Test func everyMemberArrives() throws {
    let file = try file(
      """
      access:
        metrics: open
        unix:
          - {uid: 1000, tenant: acme, scopes: [read, lease, run]}
          - gid: 0
            tenant: other-1
            scopes: ["control"]
          - {uid: 4294967294, tenant: default, scopes: [admin]}
        certificates:
          - {subject: "CN=build,O=Acme", tenant: acme, scopes: [images, pools]}
          - {subject: CN=a, tenant: acme, scopes: [read]}
      tenants:
        acme:
          weight: 2
          quotas: {vms: 64, vcpus: 128, memory_mib: 8192, leases: 32, waiting: 65, image_mib: 4096, streams: 0}
        other-1: {quotas: {leases: 1000000000}}
        default: {}
      """)
    let (acme, other) = (try #require(Tenant("acme")), try #require(Tenant("other-1")))
    let expected = AccessRules(
      metricsAreOpen: true,
      unix: [
        .init(.user(1000), .init(tenant: acme, scopes: [.read, .lease, .run])),
        .init(.group(0), .init(tenant: other, scopes: [.control])),
        .init(.user(4_294_967_294), .init(tenant: .standard, scopes: [.admin])),
      ],
      certificates: [
        "CN=build,O=Acme": .init(tenant: acme, scopes: [.images, .pools]),
        "CN=a": .init(tenant: acme, scopes: [.read]),
      ])
    #expect(file.access == expected)
    #expect(
      file.tenants == [
        acme: TenantDeclaration(
          weight: 2,
          quotas: TenantQuotas(
            vms: 64, vcpus: 128, memoryMiB: 8192, leases: 32, waiting: 65, imageMiB: 4096, streams: 0)),
        try #require(Tenant("other-1")): TenantDeclaration(quotas: TenantQuotas(leases: 1_000_000_000)),
        .standard: TenantDeclaration(),
      ])
  }

  @Test func withoutTheSectionsNothingIsSaid() throws {
    #expect(try file("").access == nil)
    #expect(try file("").tenants.isEmpty)
    #expect(try file("access: {}").access == AccessRules())
    #expect(try file("access: {unix: [], certificates: []}").access == AccessRules())
    #expect(try file("access: {metrics: closed}\ntenants: {}").access == AccessRules())
  }

  @Test(arguments: [
    ("access:", "2:8: access is nothing; write access: {} to have every client named by a key"),
    ("access: open", "2:9: access is open, and must be a mapping: NAME: VALUE on each line"),
    ("access: {metric: open}", "2:10: access.metric is not known; did you mean metrics?"),
    ("access: {metrics: yes}", "2:19: access.metrics is yes; write open or closed"),
    ("access: {unix: {}}", "2:16: access.unix is a mapping, and must be a list: [A, B]"),
    ("access: {unix: [1000]}", "2:17: access.unix[0] is 1000, and must be a mapping: NAME: VALUE on each line"),
    (
      "access: {unix: [{uid: 1, gid: 2, tenant: a, scopes: [read]}]}",
      "2:17: access.unix[0] has not one of uid and gid alone; give the number of a user or of a group"
    ),
    (
      "access: {unix: [{tenant: a, scopes: [read]}]}",
      "2:17: access.unix[0] has not one of uid and gid alone; give the number of a user or of a group"
    ),
    (
      "access: {unix: [{uid: 0, tenant: a, scopes: [read]}]}",
      "2:17: access.unix[0].uid is root, which is an operator always; leave the rule out"
    ),
    (
      "access: {unix: [{uid: 4294967295, tenant: a, scopes: [read]}]}",
      "2:23: access.unix[0].uid is 4294967295, which is out of range; write a whole number from 0 to 4294967294"
    ),
    (
      "access: {unix: [{uid: alice, tenant: a, scopes: [read]}]}",
      "2:23: access.unix[0].uid is alice, and must be a number; write a whole number from 0 to 4294967294"
    ),
    ("access: {unix: [{uid: 1, scopes: [read]}]}", "2:17: access.unix[0] has no tenant; add tenant: NAME"),
    ("access: {unix: [{uid: 1, tenant: a}]}", "2:17: access.unix[0] has no scopes; add scopes: [read]"),
    (
      "access: {unix: [{uid: 1, tenant: a, scopes: []}]}",
      "2:45: access.unix[0].scopes is an empty list, and must be a list of at least one: [A, B]"
    ),
    (
      "access: {unix: [{uid: 1, tenant: a, scopes: [write]}]}",
      "2:46: access.unix[0].scopes[0] is write; write read, lease, run, control, images, pools or admin"
    ),
    (
      "access: {unix: [{uid: 1, tenant: a, scopes: [run, run]}]}",
      "2:51: access.unix[0].scopes[1] is given twice: run"
    ),
    (
      "access: {certificates: [{tenant: a, scopes: [read]}]}",
      "2:25: access.certificates[0] has no subject; add subject: \"CN=NAME,O=COMPANY\""
    ),
    (
      "access: {certificates: [{subject: '', tenant: a, scopes: [read]}]}",
      "2:35: access.certificates[0].subject has 0 bytes; write 1 to 1024"
    ),
    (
      "access: {certificates: [{subject: CN=a, tenant: a, scopes: [read]}, {subject: CN=a, tenant: b, scopes: [run]}]}",
      "2:69: access.certificates[1].subject is that of an earlier rule; keep one of them"
    ),
    ("tenants:", "2:9: tenants is nothing; write tenants: {} if there are none to declare"),
    ("tenants: {acme: {weights: 1}}", "2:18: tenants.acme.weights is not known; did you mean weight?"),
    (
      "tenants: {acme: {weight: 0}}",
      "2:26: tenants.acme.weight is 0, which is out of range; write a whole number from 1 to 1000"
    ),
    (
      "tenants: {acme: {quotas: {vms: -1}}}",
      "2:32: tenants.acme.quotas.vms is -1, which is out of range; write a whole number from 0 to 1000000000"
    ),
  ])
  func aMistakeIsNamedWithItsPlace(text: String, line: String) {
    let error = #expect(throws: ConfigurationError.self) { try file(text) }
    #expect(error?.lines == ["f:" + line])
  }

  @Test func namesOfTenantsHaveTheirForm() {
    let error = #expect(throws: ConfigurationError.self) {
      try file("access: {unix: [{uid: 1, tenant: Acme, scopes: [read]}]}\ntenants: {-a: {}}")
    }
    #expect(error?.lines.count == 2)
    #expect(error?.lines.first?.hasPrefix("f:2:34: access.unix[0].tenant is Acme, which is no name; ") == true)
    #expect(error?.lines.last?.hasPrefix("f:3:11: -a is no name for a tenant; ") == true)
  }

  @Test func mistakesOfAllSectionsComeTogether() {
    let text = "access:\n  metrics: 1\n  unix: 2\n  certificates: [3]\ntenants: {a: 4}"
    let error = #expect(throws: ConfigurationError.self) {
      try ConfigurationFile(parsing: Array("pools: {a: {}}\n\(text)".utf8), path: "f")
    }
    #expect(error?.lines.count == 5)
  }

  /// A file that was cut off declares less, or is a mistake; it never gives more to anyone than the whole file does.
  @Test func aFileCutOffNeverOpensTheServer() throws {
    let text = """
      pools: {}
      access:
        unix:
          - {uid: 1000, tenant: acme, scopes: [read, lease]}
          - {uid: 1001, tenant: acme, scopes: [run]}

      """
    let whole = try ConfigurationFile(parsing: Array(text.utf8), path: "f").access
    let begin = "pools: {}\na".utf8.count
    for length in begin..<text.utf8.count {
      guard let part = try? ConfigurationFile(parsing: Array(text.utf8.prefix(length)), path: "f") else { continue }
      let rules = try #require(part.access, "the first \(length) bytes have no section")
      #expect(rules.isClosed)
      #expect(whole?.unix.starts(with: rules.unix) == true, "the first \(length) bytes")
    }
  }
}
