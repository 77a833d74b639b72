/// What one pool does next, as a pure state machine: no VMs, no clock, no threads.
///
/// It knows how many VMs are ready and how many are being made, and answers every event with what to do. After a
/// failure it waits before it tries again, twice as long each time, up to half a minute.
struct PoolPlan: Sendable, Equatable {
  enum Event: Sendable, Equatable {
    /// The pool is to keep so many VMs ready.
    case declared(ready: Int)
    /// The declaration changed what the VMs are made of: the ready ones are no longer right.
    case replaced(ready: Int)
    /// A VM that was being made is ready.
    case created
    /// A VM that was being made is of a declaration that no longer holds.
    case outdated
    /// Making a VM failed.
    case failed
    /// A ready VM was started, stopped or deleted.
    case lost
    /// The time to try again has come.
    case retry
    /// The pool is to be left as it is.
    case closed
  }

  enum Action: Sendable, Equatable {
    /// Make so many VMs.
    case create(Int)
    /// Delete so many ready VMs, the oldest first.
    case destroy(Int)
    /// Send `retry` after so long.
    case retryAfter(milliseconds: Int)
  }

  private(set) var target = 0
  private(set) var ready = 0
  private(set) var creating = 0
  private var failures = 0
  private var isWaiting = false
  private var isClosed = false

  mutating func on(_ event: Event) -> [Action] {
    switch event {
    case .declared(let count):
      target = count
    case .replaced(let count):
      target = count
      let stale = ready
      ready = 0
      return (stale > 0 ? [.destroy(stale)] : []) + balance()
    case .created:
      creating -= 1
      ready += 1
      failures = 0
    case .outdated:
      creating -= 1
    case .failed:
      creating -= 1
      failures += 1
      if isWaiting || isClosed { return [] }
      isWaiting = true
      return [.retryAfter(milliseconds: min(100 << min(failures - 1, 10), 30_000))]
    case .lost:
      ready -= 1
    case .retry:
      isWaiting = false
    case .closed:
      isClosed = true
    }
    return balance()
  }

  private mutating func balance() -> [Action] {
    if isClosed { return [] }
    let missing = target - ready - creating
    if missing > 0, !isWaiting {
      creating += missing
      return [.create(missing)]
    }
    // What is still being made counts once it is there.
    let surplus = ready - target
    if surplus > 0 {
      ready -= surplus
      return [.destroy(surplus)]
    }
    return []
  }
}
