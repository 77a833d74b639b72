/// JSON put together by hand, for what is answered or told so often that the encoder would be the dearest part of it. A
/// test holds each such text to what the encoder makes.
struct JSONText {
  private(set) var bytes: [UInt8] = []

  init(capacity: Int) { bytes.reserveCapacity(capacity) }

  /// Text as it is: punctuation, names, and words that need no escape.
  mutating func put(_ text: String) { bytes += text.utf8 }

  mutating func put(_ number: some FixedWidthInteger) { put(String(number)) }

  /// A time in quotes.
  mutating func put(milliseconds: Int64) {
    bytes.append(UInt8(ascii: "\""))
    RFC3339.append(milliseconds: milliseconds, to: &bytes)
    bytes.append(UInt8(ascii: "\""))
  }

  /// A string, whatever is in it; null for nil.
  mutating func quote(_ text: String?) {
    guard let text else { return put("null") }
    bytes.append(UInt8(ascii: "\""))
    if Self.isPlain(text.utf8.span) {
      bytes += text.utf8
    } else {
      for byte in text.utf8 { putEscaped(byte) }
    }
    bytes.append(UInt8(ascii: "\""))
  }

  private static func isPlain(_ text: Span<UInt8>) -> Bool {
    for index in text.indices where needsEscape(text[index]) { return false }
    return true
  }

  private static func needsEscape(_ byte: UInt8) -> Bool {
    byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
  }

  private mutating func putEscaped(_ byte: UInt8) {
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"):
      bytes.append(UInt8(ascii: "\\"))
      bytes.append(byte)
    // Some parsers, ours among them, take no NUL, however it is written.
    case 0: put("\u{FFFD}")
    case 1..<0x20:
      put(byte < 0x10 ? "\\u000" : "\\u00")
      put(String(byte, radix: 16, uppercase: true))
    default: bytes.append(byte)
    }
  }
}
