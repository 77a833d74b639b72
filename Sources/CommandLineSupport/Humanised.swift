/// A duration for people, in the largest unit that leaves at least 1, with three significant digits: `28.4 µs`.
public func humanised(nanoseconds: UInt64) -> String {
  if nanoseconds < 1000 { return "\(nanoseconds) ns" }
  let units: [(name: String, size: UInt64)] = [("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1000)]
  for (index, unit) in units.enumerated() {
    guard let digits = threeDigits(nanoseconds, unit.size) else { continue }
    // 999.9 µs rounds to 1000 µs, which is 1.00 ms.
    if digits == "1000" && index > 0 { return "1.00 \(units[index - 1].name)" }
    return "\(digits) \(unit.name)"
  }
  return "\(nanoseconds) ns"
}

/// The quotient with three significant digits, or as a whole number from 100 up; nil below 1.
private func threeDigits(_ value: UInt64, _ size: UInt64) -> String? {
  let whole = value / size
  if whole == 0 { return nil }
  let decimals: UInt64 = whole < 10 ? 100 : whole < 100 ? 10 : 1
  // Rounded half up, without leaving the integers.
  let scaled = whole * decimals + ((value % size) * decimals * 2 + size) / (size * 2)
  let (integer, fraction) = (scaled / decimals, scaled % decimals)
  switch decimals {
  case 100 where integer < 10: return "\(integer).\(fraction < 10 ? "0" : "")\(fraction)"
  case 100: return "10.0"
  case 10 where integer < 100: return "\(integer).\(fraction)"
  default: return "\(integer)"
  }
}

/// An age or a remaining time for people, in its largest unit, as kubectl writes them: `59s`, `12m`, `3h`, `41d`. It is
/// rounded down. Negative values, which a clock that runs ahead makes, are `0s`.
public func humanised(age seconds: Int) -> String {
  switch seconds {
  case ..<1: "0s"
  case ..<120: "\(seconds)s"
  case ..<7200: "\(seconds / 60)m"
  case ..<172_800: "\(seconds / 3600)h"
  default: "\(seconds / 86_400)d"
  }
}

/// A size for people, in binary units, with three significant digits: `1.50 GiB`.
public func humanised(bytes: UInt64) -> String {
  if bytes < 1024 { return "\(bytes) B" }
  let units: [(name: String, size: UInt64)] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
  for unit in units {
    if let digits = threeDigits(bytes, unit.size) { return "\(digits) \(unit.name)" }
  }
  return "\(bytes) B"
}
