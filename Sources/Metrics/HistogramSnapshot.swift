/// Durations counted by size, at one moment.
public struct HistogramSnapshot: Sendable, Equatable {
  /// Upper bounds of the buckets in nanoseconds, ascending; a bound belongs to its bucket.
  public let bounds: [UInt64]
  /// Observations in each bucket, not cumulated; one more than bounds, the last for what is above them all.
  public private(set) var counts: [UInt64]
  /// Sum of all observations in nanoseconds.
  public private(set) var sumNS: UInt64

  /// A snapshot. `counts` has one element more than `bounds`.
  public init(bounds: [UInt64], counts: [UInt64], sumNS: UInt64) {
    precondition(counts.count == bounds.count + 1, "a histogram has one bucket more than bounds")
    self.bounds = bounds
    self.counts = counts
    self.sumNS = sumNS
  }

  /// Nothing observed yet: what a sum starts from.
  public init(bounds: [UInt64]) {
    self.init(bounds: bounds, counts: [UInt64](repeating: 0, count: bounds.count + 1), sumNS: 0)
  }

  /// Number of observations.
  public var count: UInt64 { counts.reduce(0, &+) }

  /// Adds the observations of `other`, which has the same bounds.
  public mutating func merge(_ other: HistogramSnapshot) {
    precondition(bounds == other.bounds, "only histograms of the same bounds can be added")
    for index in counts.indices { counts[index] &+= other.counts[index] }
    sumNS &+= other.sumNS
  }

  /// The observations of both, which have the same bounds.
  public static func + (left: HistogramSnapshot, right: HistogramSnapshot) -> HistogramSnapshot {
    var sum = left
    sum.merge(right)
    return sum
  }
}
