import Dispatch
import Synchronization

/// Fires once, a while after it was armed, unless it is cancelled before, by hand or by letting go of it. Any thread.
public final class DeadlineTimer: Sendable {
  // One queue for all deadlines: what they do there takes microseconds.
  private static let queue = DispatchQueue(label: "vmpool.deadlines")
  /// Guards the timer; a leaf lock.
  private let timer = Mutex<(any DispatchSourceTimer)?>(nil)

  /// A timer that is not armed.
  public init() {}

  /// Arms it; does nothing if it has been armed before. `action` runs on a thread shared by all timers, and must be
  /// short.
  public func arm(afterNS delay: UInt64, _ action: @escaping @Sendable () -> Void) {
    timer.withLock { timer in
      guard timer == nil else { return }
      let source = DispatchSource.makeTimerSource(queue: Self.queue)
      source.setEventHandler(handler: action)
      source.schedule(deadline: .now() + .nanoseconds(Int(clamping: delay)))
      source.resume()
      timer = source
    }
  }

  /// Keeps it from firing, unless it has, and lets go of its action.
  public func cancel() {
    timer.withLock { $0?.cancel() }
  }

  deinit { cancel() }
}
