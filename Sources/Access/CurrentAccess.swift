import Synchronization

/// What the configuration file says of access at this moment: it is read again while the server runs.
///
/// Called on any thread. A request looks once, and goes by what it saw.
public final class CurrentAccess: Sendable {
  /// A leaf.
  private let state = Mutex(AccessRules.unconfigured)
  /// Held while it is called, so that it hears of changes in order. Its own locks are taken under it.
  private let observer = Mutex<(@Sendable () -> Void)?>(nil)

  /// An open server.
  public init() {}

  /// The rules for clients without a key.
  public var rules: AccessRules { state.withLock { $0 } }

  /// Has `changed` called after each change of the rules, on the thread that changes them.
  public func observe(_ changed: @escaping @Sendable () -> Void) { observer.withLock { $0 = changed } }

  /// Takes what the file says now; nil: it has no section `access:`. A server that is closed stays so: without the section it
  /// has no rules left, since a line that was lost in the file must not open it. Returns whether that is the case.
  public func replace(rules: AccessRules?) -> Bool {
    let (isKeptClosed, isChanged) = state.withLock { state in
      let old = state
      state = rules ?? AccessRules(isClosed: old.isClosed)
      return (rules == nil && old.isClosed, state != old)
    }
    if isChanged { observer.withLock { $0?() } }
    return isKeptClosed
  }
}
