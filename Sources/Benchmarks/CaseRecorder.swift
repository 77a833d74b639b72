/// One side's round.
package struct Tally: Sendable {
  private(set) var durations: [Figure: LatencyHistogram] = [:]
  private(set) var counts: [String: Int] = [:]

  mutating func record(_ figure: Figure, _ duration: UInt64) {
    durations[figure, default: LatencyHistogram()].record(duration)
  }

  mutating func count(_ what: String, _ number: Int = 1) { counts[what, default: 0] += number }

  /// Forgets all, and keeps the room for durations.
  mutating func clear() {
    for figure in durations.keys { durations[figure]?.clear() }
    counts.removeAll()
  }

  mutating func add(_ other: Tally) {
    // A histogram that is still empty gives no figure.
    for (figure, histogram) in other.durations where histogram.count > 0 {
      durations[figure, default: LatencyHistogram()].add(histogram)
    }
    for (what, number) in other.counts { count(what, number) }
  }

  func quantile(_ figure: Figure, perMille: Int) -> UInt64? { durations[figure]?.quantile(perMille: perMille) }
}

/// Collects a case's rounds.
package struct CaseRecorder {
  let subject: BenchmarkCase.Subject
  private var bare = SideRecorder()
  private var vmpool = SideRecorder()
  private var ratios: [String: [Double]] = [:]

  init(_ subject: BenchmarkCase.Subject) { self.subject = subject }

  /// One round of both sides.
  mutating func add(bare bareTally: Tally, vmpool ourTally: Tally) {
    bare.add(bareTally)
    vmpool.add(ourTally)
    for figure in Figure.allCases {
      for (name, perMille) in figure.hasTail ? [("p50", 500), ("p99", 990)] : [("p50", 500)] {
        guard let ours = ourTally.quantile(figure, perMille: perMille),
          let theirs = bareTally.quantile(figure, perMille: perMille)
        else { continue }
        addRatio("\(figure.rawValue)_\(name)", ours, theirs)
      }
    }
    addRelations(ourTally, "vmpool")
    addRelations(bareTally, "bare")
  }

  /// A ratio that one round gave.
  mutating func addRatio(_ name: String, _ numerator: UInt64, _ denominator: UInt64) {
    ratios[name, default: []].append(ratio(numerator, to: denominator))
  }

  private mutating func addRelations(_ tally: Tally, _ side: String) {
    if let all = tally.quantile(.storm, perMille: 500), let one = tally.quantile(.stormOfOne, perMille: 500) {
      addRatio("throughput_to_one_kicker_\(side)", one, all)
    }
    if let all = tally.quantile(.broadcast, perMille: 500), let single = tally.quantile(.slowestSingle, perMille: 500) {
      addRatio("broadcast_to_slowest_single_\(side)", all, single)
    }
  }

  var result: BenchmarkCase {
    BenchmarkCase(
      subject: subject, bare: bare.result, vmpool: vmpool.result, ratios: ratios.mapValues(Spread.init(of:)))
  }
}

/// Collects one side's rounds.
private struct SideRecorder {
  private var all = Tally()
  private var p50: [Figure: [UInt64]] = [:]
  private var p99: [Figure: [UInt64]] = [:]

  mutating func add(_ round: Tally) {
    all.add(round)
    for (figure, histogram) in round.durations {
      p50[figure, default: []].append(histogram.quantile(perMille: 500))
      p99[figure, default: []].append(histogram.quantile(perMille: 990))
    }
  }

  var result: BenchmarkCase.Side {
    let distributions = all.durations.map { figure, histogram in
      let distribution = Distribution(
        count: histogram.count, p50: histogram.quantile(perMille: 500), p90: histogram.quantile(perMille: 900),
        p99: histogram.quantile(perMille: 990), p999: histogram.quantile(perMille: 999), max: histogram.max,
        roundP50: p50[figure] ?? [], roundP99: p99[figure] ?? [], histogram: histogram.buckets)
      return (figure.rawValue, distribution)
    }
    return BenchmarkCase.Side(durations: Dictionary(uniqueKeysWithValues: distributions), counts: all.counts)
  }
}
