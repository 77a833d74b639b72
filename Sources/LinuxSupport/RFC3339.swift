/// Times as the API and the log write them, without Foundation's formatters, which cost more than a kick.
public enum RFC3339 {
  /// `2025-01-31T12:00:00.000Z` for milliseconds since 1970, in UTC; any time from year 0 to 9999.
  public static func text(milliseconds: Int64) -> String {
    let (seconds, fraction) = milliseconds.quotientAndRemainder(dividingBy: 1000, roundingDown: ())
    let (days, second) = seconds.quotientAndRemainder(dividingBy: 86_400, roundingDown: ())
    let (year, month, day) = civil(daysSince1970: days)
    // Safe: the span knows the buffer's size, and says how much of it was written.
    return unsafe String(unsafeUninitializedCapacity: 24) { buffer in
      var out = unsafe OutputSpan(buffer: buffer, initializedCount: 0)
      put(year / 1000, into: &out)
      put(year / 100, into: &out)
      putTwo(year % 100, then: "-", into: &out)
      putTwo(month, then: "-", into: &out)
      putTwo(day, then: "T", into: &out)
      putTwo(second / 3600, then: ":", into: &out)
      putTwo(second / 60 % 60, then: ":", into: &out)
      putTwo(second % 60, then: ".", into: &out)
      put(fraction / 100, into: &out)
      putTwo(fraction % 100, then: "Z", into: &out)
      return unsafe out.finalize(for: buffer)
    }
  }

  private static func put(_ value: Int64, into out: inout OutputSpan<UInt8>) {
    out.append(0x30 + UInt8(truncatingIfNeeded: value % 10))
  }

  private static func putTwo(_ value: Int64, then mark: Unicode.Scalar, into out: inout OutputSpan<UInt8>) {
    put(value / 10, into: &out)
    put(value, into: &out)
    out.append(UInt8(ascii: mark))
  }

  /// The date of a day in the Gregorian calendar. Years begin in March here, so that a leap day is a year's last.
  private static func civil(daysSince1970: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let (era, dayOfEra) = (daysSince1970 + 719_468).quotientAndRemainder(dividingBy: 146_097, roundingDown: ())
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthFromMarch = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
    let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
  }
}

extension Int64 {
  fileprivate func quotientAndRemainder(dividingBy divisor: Int64, roundingDown: ()) -> (Int64, Int64) {
    let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
    return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
  }
}
