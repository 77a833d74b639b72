/// How one figure, such as a ratio, varied over rounds.
public struct Spread: Codable, Sendable, Equatable {
  /// The median.
  public var median: Double
  /// A quarter of the rounds was at most this.
  public var lowerQuartile: Double
  /// Three quarters of the rounds were at most this.
  public var upperQuartile: Double
  /// The least.
  public var min: Double
  /// The greatest.
  public var max: Double

  /// The spread of `values`, in any order. All its members are zero when there are none.
  public init(of values: [Double]) {
    let sorted = values.sorted()
    median = quantile(0.5, ofSorted: sorted)
    lowerQuartile = quantile(0.25, ofSorted: sorted)
    upperQuartile = quantile(0.75, ofSorted: sorted)
    min = sorted.first ?? 0
    max = sorted.last ?? 0
  }

  enum CodingKeys: String, CodingKey {
    case median, min, max
    case lowerQuartile = "lower_quartile"
    case upperQuartile = "upper_quartile"
  }
}

/// The value below which `share` of the sorted values lie, interpolated between two of them; 0 without any.
func quantile(_ share: Double, ofSorted sorted: [Double]) -> Double {
  guard let last = sorted.indices.last else { return 0 }
  let position = share * Double(last)
  let below = Int(position)
  let above = Swift.min(below + 1, last)
  return sorted[below] + (sorted[above] - sorted[below]) * (position - Double(below))
}

/// `ours` divided by `bare`; 0 when `bare` is 0.
func ratio(_ ours: UInt64, to bare: UInt64) -> Double { bare == 0 ? 0 : Double(ours) / Double(bare) }
