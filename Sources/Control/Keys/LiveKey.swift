import Access
import LinuxSupport
import StateStore
import Synchronization

/// Why a key has no request left at the moment.
public enum KeyLimitReached: Error, Sendable, Equatable {
  /// The next request is admitted after so long.
  case rate(KeyLimits, waitNS: UInt64)
  /// As many requests are under way as may.
  case concurrency(limit: Int)
}

/// A key of a running server: its record, what it has used of its limits, and its requests under way.
public final class LiveKey: Sendable {
  private struct State {
    var revokedAtMS: Int?
    var meter: RateMeter?
    /// Requests and streams.
    var underWay = 0
    /// What ends those that last.
    var endings: [ObjectIdentifier: @Sendable () -> Void] = [:]
  }

  /// On whose behalf requests with it are made.
  public let principal: Principal
  private let issued: KeyRecord
  /// Guards `State` and each use's `isOver`. A leaf lock: endings are called under no lock.
  private let state: Mutex<State>
  /// Set under the lock, once. Relaxed: what a revocation must end, it finds under the lock.
  private let isRevoked: Atomic<Bool>
  /// Unix milliseconds, 0: never. Relaxed, and so is the time on record: they order nothing.
  private let lastUsedMS: Atomic<Int>
  private let notedMS: Atomic<Int>
  /// Guarded by the ring's lock of changes. Relaxed, therefore.
  private let isRecorded: Atomic<Bool>

  init(_ record: KeyRecord) {
    issued = record
    principal = record.principal
    state = Mutex(State(revokedAtMS: record.revokedAtMS, meter: RateMeter(record.grant.limits)))
    isRevoked = Atomic(record.revokedAtMS != nil)
    lastUsedMS = Atomic(record.lastUsedAtMS ?? 0)
    notedMS = Atomic(record.lastUsedAtMS ?? 0)
    isRecorded = Atomic(record.revokedAtMS != nil)
  }

  /// The record as it is now.
  public var record: KeyRecord {
    var record = issued
    record.revokedAtMS = state.withLock { $0.revokedAtMS }
    let lastUsedMS = lastUsedMS.load(ordering: .relaxed)
    record.lastUsedAtMS = lastUsedMS == 0 ? nil : lastUsedMS
    return record
  }

  /// Whether it is revoked or has expired.
  public func hasEnded(nowMS: Int = StateDatabase.wallClockMS()) -> Bool {
    isRevoked.load(ordering: .relaxed) || issued.expiresAtMS.map { $0 <= nowMS } == true
  }

  /// A request came with it.
  func used(atMS: Int) { lastUsedMS.store(atMS, ordering: .relaxed) }

  /// Takes a request out of its limits.
  public func begin(nowNS: UInt64 = MonotonicClock.now()) throws(KeyLimitReached) -> KeyUse {
    let limits = issued.grant.limits
    try state.withLock { (state) throws(KeyLimitReached) in
      if let limit = limits.concurrency, state.underWay >= limit { throw .concurrency(limit: limit) }
      if let waitNS = state.meter?.take(nowNS: nowNS) { throw .rate(limits, waitNS: waitNS) }
      state.underWay += 1
    }
    return KeyUse(self)
  }

  /// Ends its requests under way, and refuses any more. Returns when it was revoked first.
  func revoke(atMS: Int) -> Int {
    let (atMS, endings) = state.withLock { state in
      let first = state.revokedAtMS ?? atMS
      state.revokedAtMS = first
      isRevoked.store(true, ordering: .relaxed)
      return (first, Self.takeEndings(&state))
    }
    for end in endings { end() }
    return atMS
  }

  /// Whether the state has its revocation.
  var isRevocationRecorded: Bool { isRecorded.load(ordering: .relaxed) }

  func revocationRecorded() { isRecorded.store(true, ordering: .relaxed) }

  /// Ends its requests under way if it has expired.
  func endIfExpired(nowMS: Int) {
    guard hasEnded(nowMS: nowMS) else { return }
    for end in state.withLock({ Self.takeEndings(&$0) }) { end() }
  }

  private static func takeEndings(_ state: inout State) -> [@Sendable () -> Void] {
    defer { state.endings = [:] }
    return Array(state.endings.values)
  }

  /// When it was last used, if that is not on record.
  var unnotedUseMS: Int? {
    let lastUsedMS = lastUsedMS.load(ordering: .relaxed)
    return lastUsedMS > notedMS.load(ordering: .relaxed) ? lastUsedMS : nil
  }

  func noted(_ lastUsedMS: Int) { notedMS.store(lastUsedMS, ordering: .relaxed) }

  // MARK: For its uses

  fileprivate func whenEnded(_ use: KeyUse, _ end: @escaping @Sendable () -> Void) {
    let isNow = state.withLock { state in
      if use.isOver.load(ordering: .relaxed) { return false }
      if hasEnded() { return true }
      state.endings[ObjectIdentifier(use)] = end
      return false
    }
    if isNow { end() }
  }

  fileprivate func finish(_ use: KeyUse) {
    // Let go of outside the lock: it may hold the last reference to a task.
    let ending = state.withLock { state -> (@Sendable () -> Void)? in
      guard !use.isOver.load(ordering: .relaxed) else { return nil }
      use.isOver.store(true, ordering: .relaxed)
      state.underWay -= 1
      return state.endings.isEmpty ? nil : state.endings.removeValue(forKey: ObjectIdentifier(use))
    }
    withExtendedLifetime(ending) {}
  }
}

/// One request or stream with a key, until it is over. It counts towards the key's limit of requests at a time.
public final class KeyUse: Sendable {
  private let key: LiveKey
  /// Guarded by the key's lock.
  fileprivate let isOver = Atomic(false)

  fileprivate init(_ key: LiveKey) { self.key = key }

  deinit { finish() }

  /// Whether the key has been revoked, or has expired, since the request began.
  public var hasEnded: Bool { key.hasEnded() }

  /// Has `end` called, on any thread, when the key is revoked, or soon after it expires: at once where that is past. The last
  /// closure given counts.
  public func whenEnded(_ end: @escaping @Sendable () -> Void) { key.whenEnded(self, end) }

  /// The request is over. Again does nothing.
  public func finish() { key.finish(self) }
}
