/// The SHA-256 hash of a key's text: what the server keeps of a key.
///
/// Two hashes are compared in a time that does not depend on where they differ.
public struct KeyHash: Sendable, Hashable {
  private let words: (UInt64, UInt64, UInt64, UInt64)

  /// The hash of these bytes; nil where they are not 32.
  public init?(bytes: [UInt8]) {
    guard bytes.count == 32 else { return nil }
    func word(_ place: Int) -> UInt64 {
      bytes[place * 8..<place * 8 + 8].reduce(0) { $0 << 8 | UInt64($1) }
    }
    words = (word(0), word(1), word(2), word(3))
  }

  /// Its 32 bytes.
  public var bytes: [UInt8] {
    [words.0, words.1, words.2, words.3].flatMap { word in
      stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: word >> UInt64($0)) }
    }
  }

  /// Looks at all of both.
  public static func == (a: KeyHash, b: KeyHash) -> Bool {
    (a.words.0 ^ b.words.0) | (a.words.1 ^ b.words.1) | (a.words.2 ^ b.words.2) | (a.words.3 ^ b.words.3) == 0
  }

  /// Any word of it is random already.
  public func hash(into hasher: inout Hasher) { hasher.combine(words.0) }
}
