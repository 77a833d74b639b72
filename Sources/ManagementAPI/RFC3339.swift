/// Times as the API and the log write them, without Foundation's formatters, which cost more than a kick.
public enum RFC3339 {
  /// `2025-01-31T12:00:00.000Z` for milliseconds since 1970, in UTC; any time from year 0 to 9999.
  public static func text(milliseconds: Int64) -> String {
    var text: [UInt8] = []
    text.reserveCapacity(24)
    append(milliseconds: milliseconds, to: &text)
    return String(decoding: text, as: UTF8.self)
  }

  /// Appends the same.
  static func append(milliseconds: Int64, to text: inout [UInt8]) {
    let (seconds, fraction) = milliseconds.quotientAndRemainder(dividingBy: 1000, roundingDown: ())
    let (days, second) = seconds.quotientAndRemainder(dividingBy: 86_400, roundingDown: ())
    let (year, month, day) = civil(daysSince1970: days)
    text.append(addingCapacity: 24) { (out: inout OutputSpan<UInt8>) in
      func put(_ value: Int64) { out.append(0x30 + UInt8(truncatingIfNeeded: value % 10)) }
      func putTwo(_ value: Int64, then mark: Unicode.Scalar) {
        put(value / 10)
        put(value)
        out.append(UInt8(ascii: mark))
      }
      put(year / 1000)
      put(year / 100)
      putTwo(year % 100, then: "-")
      putTwo(month, then: "-")
      putTwo(day, then: "T")
      putTwo(second / 3600, then: ":")
      putTwo(second / 60 % 60, then: ":")
      putTwo(second % 60, then: ".")
      put(fraction / 100)
      putTwo(fraction % 100, then: "Z")
    }
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
