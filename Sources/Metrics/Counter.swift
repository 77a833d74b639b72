import Synchronization

/// A count that only grows. Any thread may add to it and read it, without a lock.
public final class Counter: Sendable {
  // Relaxed: the count orders nothing else and pairs with nothing; reading and adding need only be indivisible.
  private let count = Atomic<UInt64>(0)

  /// A count of nothing.
  public init() {}

  /// Adds `amount`.
  public func add(_ amount: UInt64 = 1) { count.wrappingAdd(amount, ordering: .relaxed) }

  /// What was added so far.
  public var value: UInt64 { count.load(ordering: .relaxed) }
}
