import Devices

/// Looks for a text in what a guest prints, each byte once (Knuth, Morris and Pratt): a hostile guest makes it no slower.
struct ConsoleSearch: Sendable {
  private let text: [UInt8]
  /// For each prefix of the text, the length of the longest shorter one that it ends with.
  private let fallback: [Int]
  /// How many bytes of the text the output ends with.
  private var matched = 0
  /// The offset of the next byte to look at.
  private var offset: UInt64 = 0

  /// A search for `text`, which is not empty.
  init(for text: String) {
    let bytes = Array(text.utf8)
    precondition(!bytes.isEmpty, "every console has no text at all")
    var fallback = [0]
    for byte in bytes.dropFirst() {
      var length = fallback[fallback.count - 1]
      while length > 0, bytes[length] != byte { length = fallback[length - 1] }
      fallback.append(bytes[length] == byte ? length + 1 : 0)
    }
    self.text = bytes
    self.fallback = fallback
  }

  /// Whether the text stands in what was printed since the last look.
  mutating func finds(in console: Console) -> Bool {
    let (bytes, start, next) = console.read(from: offset, limit: Console.defaultCapacity)
    // What was dropped cannot be part of it.
    if start != offset { matched = 0 }
    offset = next
    for byte in bytes where advance(byte) { return true }
    return false
  }

  private mutating func advance(_ byte: UInt8) -> Bool {
    while matched > 0, matched == text.count || text[matched] != byte { matched = fallback[matched - 1] }
    if text[matched] == byte { matched += 1 }
    return matched == text.count
  }
}
