import Testing

@testable import Benchmarks

@Suite struct QuantileTests {
  @Test func areTheNearestRanks() {
    let quantiles = Quantiles(of: (1...1000).shuffled())
    #expect(quantiles.count == 1000)
    #expect(quantiles.p50 == 500)
    #expect(quantiles.p90 == 900)
    #expect(quantiles.p99 == 990)
    #expect(quantiles.p999 == 999)
    #expect(quantiles.max == 1000)
  }

  @Test(
    arguments: [
      ([7], 7, 7, 7), ([20, 10], 10, 20, 20), ([30, 10, 20], 20, 30, 30), ([1, 1, 1, 1, 1, 1, 1, 1, 1, 50], 1, 1, 50),
    ] as [([UInt64], UInt64, UInt64, UInt64)])
  func ofFewValuesAreValuesThatOccurred(values: [UInt64], p50: UInt64, p90: UInt64, max: UInt64) {
    let quantiles = Quantiles(of: values)
    #expect(quantiles.p50 == p50)
    #expect(quantiles.p90 == p90)
    #expect(quantiles.p999 == max)
    #expect(quantiles.max == max)
  }

  @Test func ofNothingAreZero() {
    #expect(Quantiles(of: []) == Quantiles(mediansOf: []))
    #expect(Quantiles(of: []).max == 0)
  }

  @Test func areSummedUpByTheirMediansAndTheLongestOfAll() {
    // The second round was disturbed: it moves the maximum, and nothing else.
    let summary = Quantiles(mediansOf: [
      Quantiles(of: Array(1...100)), Quantiles(of: (1...100).map { $0 * 1000 }), Quantiles(of: Array(2...101)),
    ])
    #expect(summary.count == 300)
    #expect(summary.p50 == 51)
    #expect(summary.p90 == 91)
    #expect(summary.p99 == 100)
    #expect(summary.p999 == 101)
    #expect(summary.max == 100_000)
  }
}

@Suite struct SpreadTests {
  @Test func ofAnOddNumberOfValues() {
    let spread = Spread(of: [5, 1, 4, 2, 3])
    #expect(spread.median == 3)
    #expect(spread.lowerQuartile == 2)
    #expect(spread.upperQuartile == 4)
    #expect(spread.min == 1)
    #expect(spread.max == 5)
  }

  @Test func liesHalfWayBetweenTheTwoMiddleOnes() {
    let spread = Spread(of: [4, 1, 2, 3])
    #expect(spread.median == 2.5)
    #expect(spread.lowerQuartile == 1.75)
    #expect(spread.upperQuartile == 3.25)
  }

  @Test func ofOneValueAndOfNone() {
    let one = Spread(of: [1.5])
    #expect([one.median, one.lowerQuartile, one.upperQuartile, one.min, one.max] == [1.5, 1.5, 1.5, 1.5, 1.5])
    #expect(Spread(of: []).median == 0)
  }

  @Test func medianOfRatiosIgnoresARoundThatWasDisturbed() {
    let rounds = [(bare: 100, ours: 102), (bare: 200, ours: 206), (bare: 100, ours: 900), (bare: 1000, ours: 1010)]
    let ratios = rounds.map { ratio(UInt64($0.ours), to: UInt64($0.bare)) }
    #expect(abs(Spread(of: ratios).median - 1.025) < 1e-9)
    #expect(ratio(UInt64(5), to: 0) == 0)
  }
}

@Suite struct KickFigureTests {
  private static let rounds = [
    KickReport.Round(
      bare: KickFigures([10, 20, 30].map { KickSample(latencyNS: $0, callNS: 2 * $0) }, lost: 0, phases: nil),
      vmpool: KickFigures([11, 22, 33].map { KickSample(latencyNS: $0, callNS: $0) }, lost: 1, phases: ["guest": 3])),
    KickReport.Round(
      bare: KickFigures([40].map { KickSample(latencyNS: $0, callNS: 2 * $0) }, lost: 2, phases: nil),
      vmpool: KickFigures(
        [52].map { KickSample(latencyNS: $0, callNS: $0) }, lost: 3, phases: ["guest": 1, "host": 4])),
  ]

  @Test func sumUpCountsAndCompareRoundByRound() {
    let report = KickReport(
      host: HostDescription(), KickBenchmark(rounds: 2, kicksPerRound: 3), isPinned: false, rounds: Self.rounds)
    #expect(report.bare.lost == 2)
    #expect(report.vmpool.lost == 4)
    #expect(report.bare.phases == nil)
    #expect(report.vmpool.phases == ["guest": 4, "host": 4])
    #expect(abs(report.ratios.latencyP50.median - 1.2) < 1e-9)
    #expect(abs(report.ratios.callP50.median - 0.6) < 1e-9)
    #expect(report.bare.latency.max == 40)
  }
}
