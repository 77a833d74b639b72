import Access

extension AccessRules {
  private static let members = ["metrics", "unix", "certificates"]

  /// The section `access:`.
  init?(_ node: YAMLNode, _ mistakes: inout Mistakes) {
    guard !node.isNull else {
      // It was more likely cut off than meant, and what stands in it opens nothing that is closed.
      mistakes.add(node.position, "access is nothing; write access: {} to have every client named by a key")
      return nil
    }
    guard let section = MappingReader(node, at: "access", known: Self.members, &mistakes) else { return nil }
    self.init(
      metricsAreOpen: section.word("metrics", of: MetricsAccess.self, &mistakes) == .open,
      unix: section.list("unix", &mistakes).compactMap { element in
        ProcessRule(element.node, at: element.path, &mistakes)
      })
    for element in section.list("certificates", &mistakes) {
      let known = ["subject"] + Grant.members
      guard let rule = MappingReader(element.node, at: element.path, known: known, &mistakes) else { continue }
      let grant = Grant(rule, element.node, &mistakes)
      guard rule.value("subject") != nil else {
        mistakes.add(element.node.position, "\(element.path) has no subject; add subject: \"CN=NAME,O=COMPANY\"")
        continue
      }
      guard let subject = rule.text("subject", bytes: 1...1024, &mistakes), let grant else { continue }
      if certificates.updateValue(grant, forKey: subject) != nil {
        mistakes.add(element.node.position, "\(element.path).subject is that of an earlier rule; keep one of them")
      }
    }
  }
}

/// What `access.metrics` may be.
private enum MetricsAccess: String, CaseIterable { case open, closed }

extension AccessRules.ProcessRule {
  /// -1 is no id (setreuid(2)).
  private static let ids = 0...Int(UInt32.max) - 1

  fileprivate init?(_ node: YAMLNode, at path: String, _ mistakes: inout Mistakes) {
    let known = ["uid", "gid"] + AccessRules.Grant.members
    guard let rule = MappingReader(node, at: path, known: known, &mistakes) else { return nil }
    let uid = rule.number("uid", in: Self.ids, &mistakes)
    let gid = rule.number("gid", in: Self.ids, &mistakes)
    let grant = AccessRules.Grant(rule, node, &mistakes)
    guard (rule.value("uid") == nil) != (rule.value("gid") == nil) else {
      mistakes.add(node.position, "\(path) has not one of uid and gid alone; give the number of a user or of a group")
      return nil
    }
    if uid == 0 { mistakes.add(node.position, "\(path).uid is root, which is an operator always; leave the rule out") }
    guard let grant else { return nil }
    guard let subject = uid.map({ Subject.user(UInt32($0)) }) ?? gid.map({ Subject.group(UInt32($0)) }) else {
      return nil
    }
    self.init(subject, grant)
  }
}

extension AccessRules.Grant {
  static let members = ["tenant", "scopes"]

  /// What a rule gives.
  fileprivate init?(_ rule: MappingReader, _ node: YAMLNode, _ mistakes: inout Mistakes) {
    for (name, advice) in [("tenant", "tenant: NAME"), ("scopes", "scopes: [read]")] where rule.value(name) == nil {
      mistakes.add(node.position, "\(rule.path) has no \(name); add \(advice)")
    }
    let name = rule.resourceName("tenant", &mistakes)
    var scopes: [Scope] = []
    let list = rule.list("scopes", atLeast: 1, &mistakes)
    for element in list {
      guard let scope = MappingReader.word(element.node, at: element.path, of: Scope.self, &mistakes) else { continue }
      if scopes.contains(scope) { mistakes.add(element.node.position, "\(element.path) is given twice: \(scope)") }
      scopes.append(scope)
    }
    guard let tenant = name.flatMap({ Tenant($0) }), !scopes.isEmpty else { return nil }
    self.init(tenant: tenant, scopes: Scopes(scopes))
  }
}

extension TenantDeclaration {
  private static let limits = 0...1_000_000_000

  /// The section `tenants:`.
  static func all(_ node: YAMLNode, _ mistakes: inout Mistakes) -> [Tenant: TenantDeclaration] {
    guard !node.isNull else {
      mistakes.add(node.position, "tenants is nothing; write tenants: {} if there are none to declare")
      return [:]
    }
    guard let section = MappingReader(node, at: "tenants", &mistakes) else { return [:] }
    var tenants: [Tenant: TenantDeclaration] = [:]
    for (name, key, value) in section.all {
      let declaration = TenantDeclaration(value, at: "tenants.\(name.shown)", &mistakes)
      if let tenant = Tenant(name) {
        tenants[tenant] = declaration
      } else {
        mistakes.add(key.position, "\(name.shown) is no name for a tenant; \(MappingReader.nameAdvice)")
      }
    }
    return tenants
  }

  private init?(_ node: YAMLNode, at path: String, _ mistakes: inout Mistakes) {
    guard let tenant = MappingReader(node, at: path, known: ["weight", "quotas"], &mistakes) else { return nil }
    self.init(weight: tenant.number("weight", in: Self.weights, &mistakes) ?? 1)
    guard let node = tenant.value("quotas"),
      let quotas = MappingReader(node, at: path + ".quotas", known: Self.quotaNames, &mistakes)
    else { return }
    for (name, member) in zip(Self.quotaNames, Self.quotaMembers) {
      self.quotas[keyPath: member] = quotas.number(name, in: Self.limits, &mistakes)
    }
  }

  private static let quotaNames = ["vms", "vcpus", "memory_mib", "leases", "waiting", "image_mib", "streams"]

  private static var quotaMembers: [WritableKeyPath<TenantQuotas, Int?>] {
    [\.vms, \.vcpus, \.memoryMiB, \.leases, \.waiting, \.imageMiB, \.streams]
  }
}
