import CommandLineSupport
import Glibc

/// Instants of the server's documents, for people.
enum Age {
  /// How long ago an instant of a document was, such as `3m`; the text itself where it cannot be read.
  static func since(_ text: String, now: Int = Int(time(nil))) -> String {
    seconds(of: text).map { humanised(age: now - $0) } ?? text
  }

  /// How long it is until an instant of a document, such as `59s`; the text itself where it cannot be read.
  static func until(_ text: String, now: Int = Int(time(nil))) -> String {
    seconds(of: text).map { humanised(age: $0 - now) } ?? text
  }

  /// Whether an instant of a document is over; false where it cannot be read.
  static func isPast(_ text: String, now: Int = Int(time(nil))) -> Bool { seconds(of: text).map { $0 <= now } ?? false }

  /// Seconds since 1970 of an instant in UTC (RFC 3339), without its fraction; nil where it cannot be read.
  static func seconds(of text: String) -> Int? {
    // 2025-01-31T12:00:00.000Z
    guard let match = text.wholeMatch(of: /(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(\.\d+)?Z/),
      let year = Int(match.1), let month = Int(match.2), let day = Int(match.3), let hour = Int(match.4),
      let minute = Int(match.5), let second = Int(match.6)
    else { return nil }
    return ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second
  }

  /// Days from 1970-01-01 to a date of the Gregorian calendar.
  private static func days(_ year: Int, _ month: Int, _ day: Int) -> Int {
    // Counted from March, so that a leap day is a year's last.
    let years = month > 2 ? year : year - 1
    let months = (month + 9) % 12
    return years * 365 + years / 4 - years / 100 + years / 400 + (months * 153 + 2) / 5 + day - 719_469
  }
}
