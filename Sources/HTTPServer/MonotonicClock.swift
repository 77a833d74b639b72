import Glibc

/// CLOCK_MONOTONIC, in nanoseconds.
func monotonicNS() -> UInt64 { clockNS(CLOCK_MONOTONIC) }

/// The same clock as of the kernel's last tick, a few milliseconds ago, for a tenth of the price.
func coarseMonotonicNS() -> UInt64 { clockNS(CLOCK_MONOTONIC_COARSE) }

private func clockNS(_ clock: clockid_t) -> UInt64 {
  var time = timespec()
  // Safe: the kernel fills one whole timespec.
  unsafe clock_gettime(clock, &time)
  return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
