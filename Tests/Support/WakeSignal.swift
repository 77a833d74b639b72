import Glibc

/// Lets one thread wait, bounded, for a sign from others; a sign given early is kept.
///
/// SAFETY (`@unchecked Sendable`): `isGiven` is used under the mutex only; mutex and condition have addresses of their
/// own from init to deinit and are made for many threads.
@safe public final class WakeSignal: @unchecked Sendable {
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>
  private var isGiven = false

  /// No sign has been given.
  public init() {
    unsafe mutex = .allocate(capacity: 1)
    unsafe condition = .allocate(capacity: 1)
    var attributes = pthread_condattr_t()
    unsafe pthread_condattr_init(&attributes)
    unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    unsafe pthread_mutex_init(mutex, nil)
    unsafe pthread_cond_init(condition, &attributes)
    unsafe pthread_condattr_destroy(&attributes)
  }

  deinit {
    unsafe pthread_cond_destroy(condition)
    unsafe pthread_mutex_destroy(mutex)
    unsafe condition.deallocate()
    unsafe mutex.deallocate()
  }

  /// Wakes the waiter, now or at its next wait.
  public func give() {
    unsafe pthread_mutex_lock(mutex)
    isGiven = true
    unsafe pthread_cond_signal(condition)
    unsafe pthread_mutex_unlock(mutex)
  }

  /// Returns after a sign or at `end`, in CLOCK_MONOTONIC nanoseconds.
  public func wait(until end: UInt64) {
    var time = timespec(tv_sec: Int(end / 1_000_000_000), tv_nsec: Int(end % 1_000_000_000))
    unsafe pthread_mutex_lock(mutex)
    while !isGiven, unsafe pthread_cond_timedwait(condition, mutex, &time) == 0 {}
    isGiven = false
    unsafe pthread_mutex_unlock(mutex)
  }
}
