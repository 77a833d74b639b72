import LinuxSupport
import Synchronization

/// How writing the state fares.
public struct WriteHealth: Sendable, Equatable {
  /// Writes that have failed since the state was opened.
  public var failures: UInt64 = 0
  /// Why the latest write failed; nil when it succeeded.
  public var current: StateStoreError?
}

/// What an operator should know about writing the state.
public enum WriteReport: Sendable, Equatable {
  /// Writing fails. `failures` have not been reported before, this one among them.
  case failing(StateStoreError, failures: UInt64)
  /// Writing works again.
  case recovered
}

/// Counts writes that fail, and reports them, rarely enough for a log.
final class WriteRecord: Sendable {
  private struct State {
    var health = WriteHealth()
    var unreported: UInt64 = 0
    var reportedNS: UInt64?
    /// Whether the failure that goes on has been reported.
    var isReported = false
    /// Whether another try is scheduled.
    var isRetrying = false
  }

  /// Two reports of failures are at least so far apart.
  private static let reportIntervalNS: UInt64 = 30_000_000_000

  private let report: @Sendable (WriteReport) -> Void
  /// A leaf lock.
  private let state = Mutex(State())
  /// Whether `health.current` is there: spares a write that succeeds the lock. Relaxed: it orders nothing, and pairs
  /// with nothing but itself.
  private let failing = Atomic(false)

  init(_ report: @escaping @Sendable (WriteReport) -> Void) { self.report = report }

  var isFailing: Bool { failing.load(ordering: .relaxed) }
  var health: WriteHealth { state.withLock { $0.health } }

  /// A write has failed. Returns whether the caller should schedule another try.
  func failed(_ error: StateStoreError) -> Bool {
    let now = MonotonicClock.now()
    let (retries, unreported) = state.withLock { state in
      state.health.failures += 1
      state.health.current = error
      failing.store(true, ordering: .relaxed)
      let retries = !state.isRetrying
      state.isRetrying = true
      state.unreported += 1
      if let last = state.reportedNS, now - last < Self.reportIntervalNS { return (retries, UInt64(0)) }
      state.reportedNS = now
      state.isReported = true
      defer { state.unreported = 0 }
      return (retries, state.unreported)
    }
    if unreported > 0 { report(.failing(error, failures: unreported)) }
    return retries
  }

  /// Another try has its turn. Returns whether it still makes sense; the next one is then scheduled by the caller.
  func retries() -> Bool {
    state.withLock { state in
      state.isRetrying = state.health.current != nil
      return state.isRetrying
    }
  }

  /// A write has succeeded.
  func succeeded() {
    guard failing.load(ordering: .relaxed) else { return }
    let isNews = state.withLock { state in
      failing.store(false, ordering: .relaxed)
      state.health.current = nil
      defer { state.isReported = false }
      return state.isReported
    }
    if isNews { report(.recovered) }
  }
}

extension StateDatabase {
  /// How writing the state fares. While the latest write has failed, the state tries again every second by itself.
  public var writeHealth: WriteHealth { writeRecord.health }

  /// Whether the latest write failed. Costs a load.
  public var isFailing: Bool { writeRecord.isFailing }
}
