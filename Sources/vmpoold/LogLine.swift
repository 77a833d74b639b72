import Glibc
import LinuxSupport
import Logging

/// How a log line looks.
enum LogFormat: String, CaseIterable {
  /// `2025-01-31T12:00:00.000Z info message key=value`.
  case text
  /// One JSON object.
  case json
}

/// Builds one log line. It escapes control characters and quotes, since names and values may come from clients.
struct LogLine {
  private let format: LogFormat
  private(set) var bytes: [UInt8] = []

  init(_ format: LogFormat, _ level: String, _ message: String) {
    self.format = format
    bytes.reserveCapacity(320)
    var now = timespec()
    // Safe: a local structure; the clock always exists.
    unsafe clock_gettime(CLOCK_REALTIME, &now)
    let time = RFC3339.text(milliseconds: Int64(now.tv_sec) * 1000 + Int64(now.tv_nsec) / 1_000_000)
    switch format {
    // Piece by piece, here and below: concatenating strings costs more than all the rest of a request's line.
    case .text:
      put(time)
      put(" ")
      put(level)
      put(" ")
      put(message.escapedControls)
    case .json:
      put("{\"time\":\"")
      put(time)
      put("\",\"level\":\"")
      put(level)
      put("\",\"message\":")
      putQuoted(message)
    }
  }

  mutating func add(_ name: String, _ value: String) {
    putName(name)
    if format == .json || value.isEmpty || !value.utf8.allSatisfy(Self.isPlain) {
      putQuoted(value)
    } else {
      put(value)
    }
  }

  mutating func add(_ name: String, number: UInt64) {
    putName(name)
    put(number, digits: 1)
  }

  /// A number with three decimals.
  mutating func add(_ name: String, thousandths: UInt64) {
    let (whole, rest) = thousandths.quotientAndRemainder(dividingBy: 1000)
    putName(name)
    put(whole, digits: 1)
    put(".")
    put(rest, digits: 3)
  }

  /// The whole line, with its end.
  consuming func ended() -> [UInt8] {
    if format == .json { put("}") }
    bytes.append(0x0A)
    return bytes
  }

  private mutating func putName(_ name: String) {
    switch format {
    case .text:
      put(" ")
      put(name)
      put("=")
    case .json:
      put(",")
      putQuoted(name)
      put(":")
    }
  }

  private mutating func put(_ text: String) { bytes += text.utf8 }

  /// In decimal, with zeros in front where there are fewer digits.
  private mutating func put(_ number: UInt64, digits: Int) {
    let start = bytes.count
    var rest = number
    repeat {
      bytes.append(0x30 + UInt8(rest % 10))
      rest /= 10
    } while rest > 0 || bytes.count - start < digits
    bytes[start...].reverse()
  }

  /// A JSON string, which serves in both formats.
  private mutating func putQuoted(_ text: String) {
    bytes.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
      case 0..<0x20, 0x7F: put(byte.asUnicodeEscape)
      default: bytes.append(byte)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }

  private static func isPlain(_ byte: UInt8) -> Bool {
    byte > 0x20 && byte < 0x7F && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "=") && byte != UInt8(ascii: "\\")
  }
}

extension UInt8 {
  fileprivate var asUnicodeEscape: String { (self < 16 ? "\\u000" : "\\u00") + String(self, radix: 16) }
}

extension String {
  fileprivate var escapedControls: String {
    guard utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else { return self }
    return unicodeScalars.map { scalar in
      scalar.value < 0x20 || scalar.value == 0x7F ? UInt8(scalar.value).asUnicodeEscape : String(scalar)
    }.joined()
  }
}
