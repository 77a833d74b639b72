import CLinux

/// Times as the API and the log write them, without the formatters of Foundation, which cost more than a kick.
public enum RFC3339 {
  /// `2025-01-31T12:00:00.000Z` for milliseconds since 1970, in UTC; any time from year 0 to 9999.
  public static func text(milliseconds: Int64) -> String {
    var (seconds, fraction) = milliseconds.quotientAndRemainder(dividingBy: 1000)
    if fraction < 0 { (seconds, fraction) = (seconds - 1, fraction + 1000) }
    let time = clinux_utc(seconds)
    // Safe: the span knows the buffer's size, and says how much of it was written.
    return unsafe String(unsafeUninitializedCapacity: 24) { buffer in
      var out = unsafe OutputSpan(buffer: buffer, initializedCount: 0)
      putTwo(time.year / 100, into: &out)
      putTwo(time.year % 100, then: "-", into: &out)
      putTwo(time.month, then: "-", into: &out)
      putTwo(time.day, then: "T", into: &out)
      putTwo(time.hour, then: ":", into: &out)
      putTwo(time.minute, then: ":", into: &out)
      putTwo(time.second, then: ".", into: &out)
      let thousandths = Int32(fraction)
      put(thousandths / 100, into: &out)
      putTwo(thousandths % 100, then: "Z", into: &out)
      return unsafe out.finalize(for: buffer)
    }
  }

  /// Milliseconds since 1970 of a time such as `2025-01-31T12:00:00.5Z` or `2025-01-31T13:00:00+01:00`; digits after the third
  /// of a second's fraction do not count. Nil where the text is none.
  public static func milliseconds(of text: String) -> Int64? {
    let form =
      /([0-9]{4})-([0-9][0-9])-([0-9][0-9])[Tt]([0-9][0-9]):([0-9][0-9]):([0-9][0-9])(?:\.([0-9]+))?(?:[Zz]|([+-])([0-9][0-9]):([0-9][0-9]))/
    guard text.utf8.count <= 64, let match = text.wholeMatch(of: form),
      let year = Int64(match.1), let month = Int64(match.2), let day = Int64(match.3), let hour = Int64(match.4),
      let minute = Int64(match.5), let second = Int64(match.6), (1...12).contains(month),
      (1...daysOf(month, year)).contains(day), hour < 24, minute < 60, second <= 60
    else { return nil }
    let (offsetHour, offsetMinute) = (match.9.flatMap { Int64($0) } ?? 0, match.10.flatMap { Int64($0) } ?? 0)
    guard offsetHour < 24, offsetMinute < 60 else { return nil }
    let offset = (offsetHour * 60 + offsetMinute) * (match.8 == "-" ? -1 : 1)
    let fraction = Int64((String(match.7 ?? "") + "000").prefix(3)) ?? 0
    let minutes = (days(to: (year, month, day)) * 24 + hour) * 60 + minute - offset
    return (minutes * 60 + second) * 1000 + fraction
  }

  private static func daysOf(_ month: Int64, _ year: Int64) -> Int64 {
    switch month {
    case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
    case 4, 6, 9, 11: 30
    default: 31
    }
  }

  /// Days from 1970-01-01 to a date of the Gregorian calendar.
  private static func days(to date: (year: Int64, month: Int64, day: Int64)) -> Int64 {
    // Counted from March, so that a leap day is a year's last; and 400 years on, so that nothing is negative.
    let years = (date.month > 2 ? date.year : date.year - 1) + 400
    let months = (date.month + 9) % 12
    let days = years * 365 + years / 4 - years / 100 + years / 400 + (months * 153 + 2) / 5 + date.day
    return days - 719_469 - 146_097
  }

  private static func put(_ digit: Int32, into out: inout OutputSpan<UInt8>) {
    out.append(0x30 + UInt8(truncatingIfNeeded: digit))
  }

  private static func putTwo(_ value: Int32, then mark: Unicode.Scalar? = nil, into out: inout OutputSpan<UInt8>) {
    put(value / 10, into: &out)
    put(value % 10, into: &out)
    if let mark { out.append(UInt8(ascii: mark)) }
  }
}
