import Dispatch
import Synchronization

/// Fires once, a while after it was armed, unless it is cancelled before.
final class DeadlineTimer: Sendable {
  // One queue for the deadlines of all VMs: what they do there takes microseconds.
  private static let queue = DispatchQueue(label: "vmpool.deadlines")
  /// Guards the timer; a leaf lock.
  private let timer = Mutex<(any DispatchSourceTimer)?>(nil)

  /// Arms it; does nothing if it has been armed before.
  func arm(afterNS delay: UInt64, _ action: @escaping @Sendable () -> Void) {
    timer.withLock { timer in
      guard timer == nil else { return }
      let source = DispatchSource.makeTimerSource(queue: Self.queue)
      source.setEventHandler(handler: action)
      source.schedule(deadline: .now() + .nanoseconds(Int(clamping: delay)))
      source.resume()
      timer = source
    }
  }

  func cancel() {
    timer.withLock { $0?.cancel() }
  }

  deinit { cancel() }
}
