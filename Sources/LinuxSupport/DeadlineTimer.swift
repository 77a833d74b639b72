/// Runs an action once at a time, unless it is cancelled before: by `cancel`, or because its owner lets go of it.
///
/// All timers of the process share one thread, `deadlines`, so an action must be short: it must not wait, and it takes no
/// lock that is held for longer than microseconds. Any thread may call any method. To arm and to cancel each cost a lock and
/// some swaps in a heap. To arm costs a system call, too, where the new deadline is the next of all.
public final class DeadlineTimer: Sendable {
  private let entry = DeadlineClock.Entry()

  /// A timer that is not armed.
  public init() {}

  /// Starts the thread, which otherwise starts with the first timer. So a server holds from its start what it holds later.
  public static func begin() { _ = DeadlineClock.shared }

  /// Arms the timer for `timeNS` (CLOCK_MONOTONIC); a time that has passed is one that has come. Does nothing if the timer
  /// has been armed or cancelled before.
  public func arm(atNS timeNS: UInt64, _ action: @escaping @Sendable () -> Void) {
    DeadlineClock.shared.add(entry, timeNS, action)
  }

  /// Arms the timer for `delay` nanoseconds from now.
  public func arm(afterNS delay: UInt64, _ action: @escaping @Sendable () -> Void) {
    let (time, overflows) = MonotonicClock.now().addingReportingOverflow(delay)
    arm(atNS: overflows ? .max : time, action)
  }

  /// Keeps the action from being run, unless it has begun, and frees it. A timer that was cancelled is not armed any more.
  public func cancel() { DeadlineClock.shared.remove(entry) }

  deinit { cancel() }
}
