public import ArgumentParser

/// A duration on the command line: `500ms`, `1.5s`, `2m`, `1h` or `90d`. A bare number is seconds, as for timeout(1).
public struct DurationArgument: ExpressibleByArgument, Equatable, Sendable, CustomStringConvertible {
  /// What help texts say of it.
  public static let form = "such as 500ms, 30s, 5m or 1h; a bare number is seconds"

  /// How long it is.
  public var milliseconds: Int

  /// So many milliseconds.
  public init(milliseconds: Int) { self.milliseconds = milliseconds }

  /// So many seconds.
  public static func seconds(_ count: Int) -> Self { Self(milliseconds: count * 1000) }

  /// nil unless it is a whole number of milliseconds.
  public init?(argument: String) {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("", 1000)]
    guard let (suffix, size) = units.first(where: { argument.hasSuffix($0.0) }) else { return nil }
    let parts = argument.dropLast(suffix.count).split(separator: ".", omittingEmptySubsequences: false)
    let digits = parts.joined()
    // A sign is no digit.
    guard 1...2 ~= parts.count, parts.allSatisfy({ !$0.isEmpty }), digits.utf8.count <= 12,
      digits.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }), let number = Int(digits)
    else { return nil }
    let divisor = parts.dropFirst().joined().reduce(1) { product, _ in product * 10 }
    let (product, isTooLarge) = number.multipliedReportingOverflow(by: size)
    guard !isTooLarge, product % divisor == 0 else { return nil }
    milliseconds = product / divisor
  }

  /// In the largest unit of which it is a whole number.
  public var description: String {
    let units = [(3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")]
    guard let (size, unit) = units.first(where: { milliseconds % $0.0 == 0 }), milliseconds != 0 else { return "0s" }
    return "\(milliseconds / size)\(unit)"
  }

  /// For a clock.
  public var duration: Duration { .milliseconds(milliseconds) }
}
