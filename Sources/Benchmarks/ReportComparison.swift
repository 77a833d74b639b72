/// What became slower from one report to another.
///
/// For each figure that both reports have, it takes the median over rounds of the rounds' quantiles, and compares the medians.
/// A bootstrap over rounds gives the interval in which the ratio lies with a probability of 99 %. Single durations would say
/// less: what disturbs a round disturbs all of its durations. A figure is slower where its whole interval lies above the
/// threshold. The same two reports always give the same answer.
public struct ReportComparison: Codable, Sendable, Equatable {
  /// What an interval says.
  public enum Verdict: String, Codable, Sendable {
    /// The whole interval lies above the threshold.
    case slower
    /// The whole interval lies below the threshold on the other side.
    case faster
    /// The whole interval lies within it.
    case same
    /// The interval says too little: more rounds, or a quieter machine, would say more.
    case unclear
  }

  /// One figure.
  public struct Line: Codable, Sendable, Equatable {
    /// What was measured.
    public var subject: BenchmarkCase.Subject
    /// `vmpool` or `bare`. Where bare C became slower too, the host did.
    public var side: String
    /// A ``Figure``.
    public var figure: String
    /// `p50` or `p99`.
    public var quantile: String
    /// The median over rounds in the first report, in nanoseconds.
    public var before: Double
    /// … and in the second.
    public var after: Double
    /// `after` divided by `before`.
    public var ratio: Double
    /// Where its interval begins.
    public var low: Double
    /// Where its interval ends.
    public var high: Double
    /// What the interval says.
    public var verdict: Verdict

    enum CodingKeys: String, CodingKey {
      case subject, side, figure, quantile, ratio, low, high, verdict
      case before = "before_ns"
      case after = "after_ns"
    }
  }

  /// A change of at most so many percent does not matter.
  public var thresholdPercent: Double
  /// Every figure that both reports have.
  public var lines: [Line] = []
  /// Cases of a sound mechanism in which vmpool lost kicks in the second report and none in the first.
  public var newlyLost: [BenchmarkCase.Subject] = []
  /// Cases that only one of the reports has.
  public var unmatched: Int

  /// The fewest rounds that can be compared: fewer do not show how much they vary.
  public static let leastRounds = 5
  private static let resamples = 1000

  /// Compares two valid reports.
  public init(
    from before: BenchmarkReport, to after: BenchmarkReport, thresholdPercent: Double
  ) throws(ReportError) {
    guard before.benchmark == after.benchmark else {
      throw ReportError("one is of bench \(before.benchmark), the other of bench \(after.benchmark)")
    }
    self.thresholdPercent = thresholdPercent
    let others = Dictionary(after.cases.map { ($0.subject, $0) }) { first, _ in first }
    let pairs = before.cases.compactMap { item in others[item.subject].map { (before: item, after: $0) } }
    unmatched = before.cases.count + after.cases.count - 2 * pairs.count
    var generator = SplitMix64(state: 0)
    for pair in pairs {
      for (name, side) in [("vmpool", \BenchmarkCase.vmpool), ("bare", \.bare)] {
        for figure in Figure.allCases {
          guard let old = pair.before[keyPath: side][figure], let new = pair.after[keyPath: side][figure] else {
            continue
          }
          let quantiles = [("p50", \Distribution.roundP50), ("p99", \.roundP99)].prefix(figure.hasTail ? 2 : 1)
          for (quantile, rounds) in quantiles {
            try compare(
              pair.before.subject, name, figure, quantile, old[keyPath: rounds], new[keyPath: rounds], &generator)
          }
        }
      }
      let isSound = pair.before.subject.mechanism != "signal_only"
      if isSound, pair.before.vmpool.lost == 0, pair.after.vmpool.lost > 0 { newlyLost.append(pair.before.subject) }
    }
    guard !lines.isEmpty else { throw ReportError("they have no case in common") }
  }

  /// Whether anything of vmpool's became slower, or loses kicks.
  public var isWorse: Bool {
    !newlyLost.isEmpty || lines.contains { $0.side == "vmpool" && $0.verdict == .slower }
  }

  private mutating func compare(
    _ subject: BenchmarkCase.Subject, _ side: String, _ figure: Figure, _ quantile: String, _ before: [UInt64],
    _ after: [UInt64], _ generator: inout SplitMix64
  ) throws(ReportError) {
    guard min(before.count, after.count) >= Self.leastRounds else {
      throw ReportError("\(min(before.count, after.count)) rounds are too few to compare: \(Self.leastRounds) at least")
    }
    let (old, new) = (median(before), median(after))
    var ratios: [Double] = []
    for _ in 0..<Self.resamples {
      // A duration of zero was rounded down: it may have been up to half a nanosecond.
      let (a, b) = (median(generator.resample(before)), median(generator.resample(after)))
      ratios.append(max(b, 0.5) / max(a, 0.5))
    }
    ratios.sort()
    let (low, high) = (Benchmarks.quantile(0.005, ofSorted: ratios), Benchmarks.quantile(0.995, ofSorted: ratios))
    lines.append(
      Line(
        subject: subject, side: side, figure: figure.rawValue, quantile: quantile, before: old, after: new,
        ratio: max(new, 0.5) / max(old, 0.5), low: low, high: high,
        verdict: Self.verdict(low, high, margin: 1 + thresholdPercent / 100)))
  }

  private static func verdict(_ low: Double, _ high: Double, margin: Double) -> Verdict {
    if low > margin { return .slower }
    if high < 1 / margin { return .faster }
    return low >= 1 / margin && high <= margin ? .same : .unclear
  }

  enum CodingKeys: String, CodingKey {
    case lines, unmatched
    case thresholdPercent = "threshold_percent"
    case newlyLost = "newly_lost"
  }
}

extension BenchmarkCase.Side {
  /// Kicks that were not acknowledged in time.
  public var lost: Int { counts["lost"] ?? 0 }
}

private func median(_ values: [UInt64]) -> Double {
  let sorted = values.sorted()
  let middle = sorted.count / 2
  return sorted.count % 2 == 1 ? Double(sorted[middle]) : (Double(sorted[middle - 1]) + Double(sorted[middle])) / 2
}

/// Sebastiano Vigna's generator: small, and good enough to draw rounds.
private struct SplitMix64: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// As many values, each drawn from all of them.
  mutating func resample(_ values: [UInt64]) -> [UInt64] {
    values.map { _ in values[Int(next(upperBound: UInt64(values.count)))] }
  }
}
