import Testing

@testable import Benchmarks

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
