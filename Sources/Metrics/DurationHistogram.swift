import Synchronization

/// Counts durations by size. Any thread may record and take snapshots, without a lock and without allocating.
public final class DurationHistogram: Sendable {
  /// The most bounds there is room for.
  public static let boundLimit = 31

  /// 1-2.5-5 steps from 1 µs to 1 s, for kicks.
  public static let kickBounds: [UInt64] = steps(from: 1_000, through: 1_000_000_000)

  /// 1-2.5-5 steps from 100 µs to 10 s, for HTTP requests and other work of that size.
  public static let requestBounds: [UInt64] = steps(from: 100_000, through: 10_000_000_000)

  /// Upper bounds of the buckets in nanoseconds.
  public let bounds: [UInt64]
  /// The bounds again, without an array's reference count, filled up with what nothing exceeds.
  private let limits: InlineArray<32, UInt64>
  // Relaxed, as is the sum: each is a count of its own that orders nothing else and pairs with nothing.
  private let counts: InlineArray<32, Atomic<UInt64>>
  private let sumNS = Atomic<UInt64>(0)

  /// An empty histogram of `bounds`, in nanoseconds: ascending, and at most ``boundLimit``.
  public init(bounds: [UInt64]) {
    precondition(bounds.count <= Self.boundLimit, "a histogram has at most \(Self.boundLimit) bounds")
    precondition(zip(bounds, bounds.dropFirst()).allSatisfy { $0 < $1 }, "a histogram's bounds ascend")
    self.bounds = bounds
    limits = InlineArray { $0 < bounds.count ? bounds[$0] : .max }
    counts = InlineArray { _ in Atomic(0) }
  }

  /// Counts one duration.
  public func record(ns: UInt64) {
    var bucket = 0
    var step = 16
    while step > 0 {
      if limits[bucket + step - 1] < ns { bucket += step }
      step /= 2
    }
    counts[bucket].wrappingAdd(1, ordering: .relaxed)
    sumNS.wrappingAdd(ns, ordering: .relaxed)
  }

  /// What was recorded so far. Durations recorded meanwhile may be in the counts and not yet in the sum, or the other
  /// way round.
  public func snapshot() -> HistogramSnapshot {
    let counts = (0...bounds.count).map { self.counts[$0].load(ordering: .relaxed) }
    return HistogramSnapshot(bounds: bounds, counts: counts, sumNS: sumNS.load(ordering: .relaxed))
  }

  private static func steps(from first: UInt64, through last: UInt64) -> [UInt64] {
    var bounds: [UInt64] = []
    var decade = first
    while decade <= last {
      bounds += [decade, decade / 2 * 5, decade * 5].filter { $0 <= last }
      decade *= 10
    }
    return bounds
  }
}
