import CLinux
import Glibc

/// The clock that all latencies and deadlines are measured with.
public enum MonotonicClock {
  /// CLOCK_MONOTONIC in nanoseconds.
  public static func now() -> UInt64 { clinux_monotonic_ns() }

  /// The same as of the kernel's last tick, a few milliseconds ago, for a tenth of the price.
  public static func coarse() -> UInt64 { clinux_monotonic_coarse_ns() }

  /// Keeps the calling thread asleep until it is `untilNS`.
  public static func sleep(untilNS: UInt64) {
    var time = timespec(tv_sec: Int(untilNS / 1_000_000_000), tv_nsec: Int(untilNS % 1_000_000_000))
    // Safe: the time outlives the call. A signal that interrupts it does not end it: the time is absolute.
    while unsafe clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nil) == EINTR {}
  }
}

/// The time of day. The clock may be set, forwards and back.
public enum WallClock {
  /// CLOCK_REALTIME: nanoseconds since 1970.
  public static func now() -> UInt64 { clinux_realtime_ns() }
}
