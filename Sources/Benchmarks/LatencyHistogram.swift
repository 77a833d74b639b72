import Histogram

/// Durations in nanoseconds, to three significant digits. The longest is exact, and so is one that is alone. The histogram
/// has room for all durations from the beginning: to grow would cost milliseconds, in the middle of what is measured.
struct LatencyHistogram: Sendable {
  private static let longest: UInt64 = 3_600_000_000_000
  private var histogram = Histogram<UInt32>(
    lowestDiscernibleValue: 1, highestTrackableValue: longest, numberOfSignificantValueDigits: .three)
  private(set) var max: UInt64 = 0

  var count: Int { Int(histogram.totalCount) }

  /// Durations above an hour count as an hour.
  mutating func record(_ duration: UInt64) {
    histogram.record(min(duration, Self.longest))
    max = Swift.max(max, duration)
  }

  /// Removes all durations, and keeps the memory.
  mutating func clear() {
    histogram.reset()
    max = 0
  }

  mutating func add(_ other: LatencyHistogram) {
    histogram.add(other.histogram)
    max = Swift.max(max, other.max)
  }

  /// The smallest duration that at least so many in a thousand do not exceed; 0 when there are none.
  func quantile(perMille: Int) -> UInt64 {
    count < 2 ? max : min(histogram.valueAtPercentile(Double(perMille) / 10), max)
  }

  /// Durations and how often each occurred, ascending.
  var buckets: HistogramBuckets {
    HistogramBuckets(histogram.recordedValues().map { (value: $0.value, count: UInt64($0.count)) })
  }
}

/// Durations in nanoseconds with how often each occurred, ascending. They are written as one JSON string, such as
/// `28416:3 28448:5`.
public struct HistogramBuckets: Codable, Sendable, Equatable {
  /// Each duration once.
  public private(set) var values: [UInt64]
  /// How often each occurred; none is zero.
  public private(set) var counts: [UInt64]

  init(_ buckets: [(value: UInt64, count: UInt64)]) {
    values = buckets.map(\.value)
    counts = buckets.map(\.count)
  }

  /// Reads the text, and refuses one that no benchmark writes: a report may come from anywhere.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let text = try container.decode(String.self)
    var buckets: [(value: UInt64, count: UInt64)] = []
    var total: UInt64 = 0
    for pair in text.split(separator: " ", omittingEmptySubsequences: false) where !text.isEmpty {
      let parts = pair.split(separator: ":", omittingEmptySubsequences: false)
      guard parts.count == 2, let value = UInt64(parts[0]), let count = UInt64(parts[1]), count > 0,
        case let (sum, overflow) = total.addingReportingOverflow(count), !overflow,
        buckets.last.map({ $0.value < value }) ?? true
      else {
        throw DecodingError.dataCorruptedError(
          in: container,
          debugDescription: "it must be ascending durations with their counts, such as \"28416:3 28448:5\"")
      }
      total = sum
      buckets.append((value, count))
    }
    self.init(buckets)
  }

  /// Writes the text.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(zip(values, counts).map { "\($0):\($1)" }.joined(separator: " "))
  }
}
