import CLinux
import Glibc

/// A counter that threads wait for, sem_init(3). Any thread may call any method.
@safe public final class CountingSemaphore: Sendable {
  // Safe: the semaphore stands at one address from `init` to `deinit`, and sem_t is made for use from many threads.
  private nonisolated(unsafe) let semaphore: UnsafeMutablePointer<sem_t>

  /// A semaphore that counts `value`.
  public init(_ value: UInt32 = 0) {
    // Safe: `deinit` destroys and frees it, once. Between threads of one process, sem_init cannot fail.
    unsafe semaphore = .allocate(capacity: 1)
    _ = unsafe sem_init(semaphore, 0, value)
  }

  /// Adds 1, and wakes one of the waiting threads. Does not wait.
  public func signal() {
    // Safe: as above.
    _ = unsafe sem_post(semaphore)
  }

  /// Waits until the counter is above 0, and takes 1 from it.
  public func wait() {
    // Safe: as above. Without a handler's interruption it returns with what was waited for.
    while unsafe sem_wait(semaphore) != 0 {}
  }

  /// The same, until `deadlineNS` (CLOCK_MONOTONIC) at most. Returns false when the time was up.
  public func wait(untilNS deadlineNS: UInt64) -> Bool {
    while true {
      // Safe: as above.
      let result = unsafe clinux_sem_wait(semaphore, deadlineNS)
      if result != -EINTR { return result == 0 }
    }
  }

  deinit {
    // Safe: the last reference is gone, so no thread waits.
    unsafe sem_destroy(semaphore)
    unsafe semaphore.deallocate()
  }
}
