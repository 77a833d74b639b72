import JSONCodec
import TestSupport
import Testing

@testable import Benchmarks

@Suite struct LatencyHistogramTests {
  @Test func quantilesAreTheNearestRanks() {
    var histogram = LatencyHistogram()
    for value in (1...1000).shuffled() { histogram.record(UInt64(value)) }
    #expect(histogram.count == 1000)
    #expect([500, 900, 990, 999].map { histogram.quantile(perMille: $0) } == [500, 900, 990, 999])
    #expect(histogram.max == 1000)
  }

  @Test func ofNothingAreZeroAndOfOneAreThatOne() {
    var histogram = LatencyHistogram()
    #expect(histogram.quantile(perMille: 500) == 0)
    histogram.record(123_456_789)
    #expect([500, 990].map { histogram.quantile(perMille: $0) } == [123_456_789, 123_456_789])
  }

  /// Three digits, from nanoseconds to minutes, against sorting.
  @Test func agreesWithSortingToThreeDigits() {
    var generator = SeededGenerator(for: #function)
    var histogram = LatencyHistogram()
    var durations: [UInt64] = []
    for _ in 0..<5000 {
      let duration = UInt64.random(in: 1...(1 << UInt64.random(in: 1...36, using: &generator)), using: &generator)
      durations.append(duration)
      histogram.record(duration)
    }
    durations.sort()
    for perMille in [500, 900, 990, 999] {
      let exact = Double(durations[(durations.count * perMille + 999) / 1000 - 1])
      #expect(abs(Double(histogram.quantile(perMille: perMille)) - exact) <= exact / 1000 + 1)
    }
    #expect(histogram.max == durations.last)
  }

  @Test func addsUp() {
    var (one, other, all) = (LatencyHistogram(), LatencyHistogram(), LatencyHistogram())
    for value in 1...2000 as ClosedRange<UInt64> {
      if value % 3 == 0 { one.record(value * 1000) } else { other.record(value * 1000) }
      all.record(value * 1000)
    }
    one.add(other)
    #expect(one.buckets == all.buckets)
    #expect(one.max == 2_000_000)
    #expect(one.buckets.counts.reduce(0, +) == 2000)
  }

  @Test func longDurationsArePlacedAtAnHourAndToldExactly() {
    var histogram = LatencyHistogram()
    histogram.record(.max)
    histogram.record(1)
    #expect(histogram.max == .max)
    #expect(histogram.count == 2)
  }
}

@Suite struct HistogramBucketTests {
  @Test func areOneTextInJSON() throws {
    let buckets = HistogramBuckets([(value: 7, count: 1), (value: 4096, count: 20)])
    #expect(String(decoding: try JSON.encode(buckets), as: UTF8.self) == "\"7:1 4096:20\"")
    #expect(try JSON.decode(HistogramBuckets.self, from: JSON.encode(buckets)) == buckets)
    #expect(try JSON.decode(HistogramBuckets.self, from: Array("\"\"".utf8)).values.isEmpty)
  }

  @Test(arguments: [
    "7", "7:", ":1", "7:1 ", " 7:1", "7:1  8:1", "7:0", "8:1 7:1", "7:1 7:1", "-7:1", "7:1:1", "a:b", "7:1,8:1",
    "1:18446744073709551615 2:1", "18446744073709551616:1", "0x7:1", "7:1\\n",
  ])
  func refuseOtherTexts(text: String) {
    #expect(throws: JSONDecodingError.self) {
      try JSON.decode(HistogramBuckets.self, from: Array("\"\(text)\"".utf8))
    }
  }
}
