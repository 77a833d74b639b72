/// On whose behalf a request is made, and what it may do.
public struct Principal: Sendable, Equatable {
  /// How the log, the audit log and events call it: a key's id, `uid 1000`, a certificate's subject, or the client's address.
  public let id: String
  /// Whose things it sees and makes.
  public let tenant: Tenant
  /// What it may do.
  public let scopes: Scopes
  /// The pools that it may use, by its tenant's names; nil for all that its tenant may use.
  public let pools: Set<String>?

  /// A principal.
  public init(id: String, tenant: Tenant, scopes: Scopes, pools: Set<String>? = nil) {
    self.id = id
    self.tenant = tenant
    self.scopes = scopes
    self.pools = pools
  }

  /// An operator, for example every client of a server without keys.
  public static func anOperator(id: String) -> Principal {
    Principal(id: id, tenant: .standard, scopes: .admin)
  }

  /// Whether it sees what belongs to other tenants.
  public var isOperator: Bool { scopes.contains(.admin) }

  /// Whether what belongs to `tenant` exists for it.
  public func sees(_ tenant: Tenant) -> Bool { isOperator || tenant == self.tenant }
}
