import Synchronization

/// What the configuration file says of access at this moment: it is read again while the server runs.
///
/// Called on any thread. A request looks once, and goes by what it saw.
public final class CurrentAccess: Sendable {
  /// A leaf.
  private let state = Mutex(AccessRules.unconfigured)

  /// An open server.
  public init() {}

  /// The rules for clients without a key.
  public var rules: AccessRules { state.withLock { $0 } }

  /// Takes what the file says now; nil: it has no section `access:`. A server that is closed stays so: without the section it
  /// has no rules left, since a line that was lost in the file must not open it. Returns whether that is the case.
  public func replace(rules: AccessRules?) -> Bool {
    state.withLock { state in
      let isKeptClosed = rules == nil && state.isClosed
      state = rules ?? AccessRules(isClosed: state.isClosed)
      return isKeptClosed
    }
  }
}
