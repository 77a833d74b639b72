import CommandLineSupport
import Glibc
import LinuxSupport

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

  /// Seconds since 1970 of an instant (RFC 3339), without its fraction; nil where it cannot be read.
  static func seconds(of text: String) -> Int? { RFC3339.milliseconds(of: text).map { Int($0 / 1000) } }
}
