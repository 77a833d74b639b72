import Glibc
import Metrics
import Synchronization
import Testing

@Suite struct DurationHistogramTests {
  @Test func kickBoundsAreSteps() {
    #expect(
      DurationHistogram.kickBounds == [
        1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
        10_000_000, 25_000_000, 50_000_000, 100_000_000, 250_000_000, 500_000_000, 1_000_000_000,
      ])
  }

  @Test func requestBoundsAreSteps() {
    #expect(
      DurationHistogram.requestBounds == [
        100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 25_000_000, 50_000_000, 100_000_000,
        250_000_000, 500_000_000, 1_000_000_000, 2_500_000_000, 5_000_000_000, 10_000_000_000,
      ])
  }

  @Test(arguments: 0...DurationHistogram.boundLimit)
  func boundBelongsToItsBucket(number: Int) {
    let bounds = (0..<number).map { UInt64($0 + 1) * 10 }
    for (index, bound) in bounds.enumerated() {
      let histogram = DurationHistogram(bounds: bounds)
      histogram.record(ns: bound)
      histogram.record(ns: bound + 1)
      var counts = [UInt64](repeating: 0, count: number + 1)
      counts[index] += 1
      counts[index + 1] += 1
      #expect(
        histogram.snapshot() == HistogramSnapshot(bounds: bounds, counts: counts, sumNS: 2 * bound + 1))
    }
    let histogram = DurationHistogram(bounds: bounds)
    histogram.record(ns: 0)
    histogram.record(ns: .max)
    #expect(histogram.snapshot().counts.first == (number == 0 ? 2 : 1))
    #expect(histogram.snapshot().counts.last == (number == 0 ? 2 : 1))
    #expect(histogram.snapshot().count == 2)
  }

  @Test func nothingIsLostAmongThreads() async {
    let histogram = DurationHistogram(bounds: DurationHistogram.kickBounds)
    await withTaskGroup { group in
      for _ in 0..<4 {
        group.addTask {
          for ns in 0..<50_000 as Range<UInt64> { histogram.record(ns: ns) }
        }
      }
    }
    #expect(histogram.snapshot().count == 200_000)
    #expect(histogram.snapshot().sumNS == 4 * (49_999 * 50_000 / 2))
    #expect(histogram.snapshot().counts[..<6] == [4 * 1_001, 6_000, 10_000, 20_000, 60_000, 4 * 24_999])
  }

  @Test func snapshotsAdd() {
    let left = HistogramSnapshot(bounds: [1, 2], counts: [1, 2, 3], sumNS: 10)
    let right = HistogramSnapshot(bounds: [1, 2], counts: [10, 0, 1], sumNS: 5)
    #expect(left + right == HistogramSnapshot(bounds: [1, 2], counts: [11, 2, 4], sumNS: 15))
    #expect(left + HistogramSnapshot(bounds: [1, 2]) == left)
    #expect(left.count == 6)
  }
}
