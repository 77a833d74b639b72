import LinuxSupport
import Synchronization

/// Calls a function at the time it was set to last, on the thread that runs the process's deadlines: the function must be
/// short. May be set from any thread. Letting go of it cancels it.
final class Alarm: Sendable {
  /// A leaf lock.
  private let timer = Mutex<DeadlineTimer?>(nil)

  /// Sets time (CLOCK_MONOTONIC) and function in the place of those before.
  func set(atNS time: UInt64, _ ring: @escaping @Sendable () -> Void) {
    let new = DeadlineTimer()
    let old = timer.withLock { timer in
      defer { timer = new }
      return timer
    }
    old?.cancel()
    new.arm(atNS: time, ring)
  }

  /// As it was before it was set.
  func cancel() {
    let old = timer.withLock { $0.take() }
    old?.cancel()
  }
}
