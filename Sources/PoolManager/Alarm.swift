import Dispatch
import Synchronization

/// Calls a function at the time it was set to last. May be set from any thread.
final class Alarm: Sendable {
  private let queue = DispatchQueue(label: "vmpool.clock")
  /// Guards the timer; a leaf lock.
  private let timer: Mutex<any DispatchSourceTimer>

  init() {
    timer = Mutex(DispatchSource.makeTimerSource(queue: queue))
  }

  /// What it calls, on a queue of its own. Once, before it is set.
  func arm(_ ring: @escaping @Sendable () -> Void) {
    timer.withLock { timer in
      timer.setEventHandler(handler: ring)
      timer.activate()
    }
  }

  /// Sets it; what it was set to before is forgotten.
  func set(afterNS delay: UInt64) {
    // To the millisecond: dispatch would otherwise allow itself a tenth of the time.
    timer.withLock {
      $0.schedule(deadline: .now() + .nanoseconds(Int(clamping: delay)), leeway: .milliseconds(1))
    }
  }

  deinit { timer.withLock { $0.cancel() } }
}
