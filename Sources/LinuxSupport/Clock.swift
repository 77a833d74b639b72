import CLinux

/// The clock that all latencies and deadlines are measured with.
public enum MonotonicClock {
  /// CLOCK_MONOTONIC in nanoseconds.
  public static func now() -> UInt64 { clinux_monotonic_ns() }
}

/// The clock that tells the time of day. It may be set, forwards and back.
public enum WallClock {
  /// CLOCK_REALTIME: nanoseconds since 1970.
  public static func now() -> UInt64 { clinux_realtime_ns() }
}
