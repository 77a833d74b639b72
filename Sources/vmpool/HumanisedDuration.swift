/// A duration for people, in the largest unit that leaves at least 1, with three significant digits: `28.4 µs`.
func humanised(nanoseconds: UInt64) -> String {
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
