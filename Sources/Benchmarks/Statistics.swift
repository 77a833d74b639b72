/// The distribution of one round's durations, in nanoseconds, or a summary of several such.
///
/// A quantile is a value that occurred (nearest rank): the smallest that at least that share of the values do not
/// exceed.
public struct Quantiles: Codable, Sendable, Equatable {
  /// How many durations it is of.
  public var count: Int
  /// The median.
  public var p50: UInt64
  /// Nine in ten are at most this.
  public var p90: UInt64
  /// 99 in a hundred are at most this.
  public var p99: UInt64
  /// 999 in a thousand are at most this.
  public var p999: UInt64
  /// The longest.
  public var max: UInt64

  /// Of `durations`, in any order; all zero when there are none.
  public init(of durations: [UInt64]) {
    let sorted = durations.sorted()
    func quantile(_ perMille: Int) -> UInt64 {
      sorted.isEmpty ? 0 : sorted[(sorted.count * perMille + 999) / 1000 - 1]
    }
    count = sorted.count
    p50 = quantile(500)
    p90 = quantile(900)
    p99 = quantile(990)
    p999 = quantile(999)
    max = sorted.last ?? 0
  }

  /// The medians over rounds of each quantile, the longest of all, and how many durations there were in all.
  public init(mediansOf rounds: [Quantiles]) {
    func median(_ quantile: KeyPath<Quantiles, UInt64>) -> UInt64 {
      Quantiles(of: rounds.map { $0[keyPath: quantile] }).p50
    }
    count = rounds.reduce(0) { $0 + $1.count }
    p50 = median(\.p50)
    p90 = median(\.p90)
    p99 = median(\.p99)
    p999 = median(\.p999)
    max = rounds.map(\.max).max() ?? 0
  }
}

/// How one figure, such as a ratio, varied over rounds.
public struct Spread: Codable, Sendable, Equatable {
  /// The middle one, or half-way between the two middle ones.
  public var median: Double
  /// A quarter of the rounds was at most this.
  public var lowerQuartile: Double
  /// Three quarters of the rounds were at most this.
  public var upperQuartile: Double
  /// The least.
  public var min: Double
  /// The greatest.
  public var max: Double

  /// Of `values`, in any order; all zero when there are none.
  public init(of values: [Double]) {
    let sorted = values.sorted()
    func quantile(_ share: Double) -> Double {
      guard let last = sorted.indices.last else { return 0 }
      let position = share * Double(last)
      let below = Int(position)
      let above = Swift.min(below + 1, last)
      return sorted[below] + (sorted[above] - sorted[below]) * (position - Double(below))
    }
    median = quantile(0.5)
    lowerQuartile = quantile(0.25)
    upperQuartile = quantile(0.75)
    min = sorted.first ?? 0
    max = sorted.last ?? 0
  }

  enum CodingKeys: String, CodingKey {
    case median, min, max
    case lowerQuartile = "lower_quartile"
    case upperQuartile = "upper_quartile"
  }
}

/// `ours` in units of `bare`; 0 when there is nothing to compare with.
func ratio(_ ours: UInt64, to bare: UInt64) -> Double { ratio(Double(ours), to: Double(bare)) }

/// `ours` in units of `bare`; 0 when there is nothing to compare with.
func ratio(_ ours: Double, to bare: Double) -> Double { bare == 0 ? 0 : ours / bare }
