import ArgumentParser

/// A duration on the command line: `500ms`, `1.5s`, `2m` or `1h`. A bare number is seconds, as for timeout(1).
struct DurationArgument: ExpressibleByArgument, Equatable, CustomStringConvertible {
  /// What help texts say of it.
  static let form = "such as 500ms, 30s, 5m or 1h; a bare number is seconds"

  var milliseconds: Int

  init(milliseconds: Int) { self.milliseconds = milliseconds }

  static func seconds(_ count: Int) -> Self { Self(milliseconds: count * 1000) }

  /// nil unless it is a whole number of milliseconds.
  init?(argument: String) {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("", 1000)]
    guard let (suffix, size) = units.first(where: { argument.hasSuffix($0.0) }) else { return nil }
    let parts = argument.dropLast(suffix.count).split(separator: ".", omittingEmptySubsequences: false)
    let digits = parts.joined()
    // A sign is no digit, and twelve digits overflow nothing.
    guard 1...2 ~= parts.count, parts.allSatisfy({ !$0.isEmpty }), digits.utf8.count <= 12,
      digits.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }), let number = Int(digits)
    else { return nil }
    let divisor = parts.dropFirst().joined().reduce(1) { product, _ in product * 10 }
    guard number * size % divisor == 0 else { return nil }
    milliseconds = number * size / divisor
  }

  /// In the largest unit of which it is a whole number.
  var description: String {
    let units = [(3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")]
    guard let (size, unit) = units.first(where: { milliseconds % $0.0 == 0 }), milliseconds != 0 else { return "0s" }
    return "\(milliseconds / size)\(unit)"
  }

  var duration: Duration { .milliseconds(milliseconds) }
}
