import Synchronization

/// What the configuration file says of access and of tenants at this moment: it is read again while the server runs.
///
/// Called on any thread. A request looks once, and goes by what it saw.
public final class CurrentAccess: Sendable {
  private struct State {
    var rules = AccessRules.unconfigured
    var tenants: [String: TenantDeclaration] = [:]
  }

  /// A leaf.
  private let state = Mutex(State())

  /// An open server without declarations of tenants.
  public init() {}

  /// The rules for clients without a key.
  public var rules: AccessRules { state.withLock { $0.rules } }

  /// The tenants that the file names, by their names.
  public var tenants: [String: TenantDeclaration] { state.withLock { $0.tenants } }

  /// What holds for that tenant.
  public func declaration(of tenant: Tenant) -> TenantDeclaration {
    state.withLock { $0.tenants[tenant.name] } ?? TenantDeclaration()
  }

  /// Takes what the file says now; nil: it has no section `access:`. A server that is closed stays so: without the section it
  /// has no rules left, since a line that was lost in the file must not open it. Returns whether that is the case.
  @discardableResult
  public func replace(rules: AccessRules?, tenants: [String: TenantDeclaration]) -> Bool {
    state.withLock { state in
      let isKeptClosed = rules == nil && state.rules.isClosed
      state.rules = rules ?? AccessRules(isClosed: state.rules.isClosed)
      state.tenants = tenants
      return isKeptClosed
    }
  }
}
