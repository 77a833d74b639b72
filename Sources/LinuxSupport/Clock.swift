import CLinux

/// The clock that all latencies and deadlines are measured with.
public enum MonotonicClock {
  /// CLOCK_MONOTONIC in nanoseconds.
  public static func now() -> UInt64 { clinux_monotonic_ns() }
}
