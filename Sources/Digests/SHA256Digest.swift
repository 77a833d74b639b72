/// A SHA-256 hash (FIPS 180-4) by which bytes are named, written `sha256:` and 64 lower-case hex digits.
public struct SHA256Digest: Sendable, Hashable, Comparable, CustomStringConvertible {
  /// Its 32 bytes.
  public let bytes: [UInt8]

  init(bytes: [UInt8]) { self.bytes = bytes }

  /// The hash of `bytes`.
  public init(of bytes: [UInt8]) {
    var hasher = SHA256Hasher()
    hasher.update(bytes)
    self = hasher.digest()
  }

  /// nil unless the text is exactly of the form that `description` has.
  public init?(_ text: String) {
    guard text.hasPrefix("sha256:") else { return nil }
    self.init(hex: text.dropFirst("sha256:".count))
  }

  /// nil unless the text is 64 lower-case hex digits.
  public init?(hex text: some StringProtocol) {
    guard text.utf8.count == 64 else { return nil }
    var bytes: [UInt8] = []
    var high: UInt8?
    for character in text.utf8 {
      let value: UInt8
      switch character {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): value = character - UInt8(ascii: "0")
      case UInt8(ascii: "a")...UInt8(ascii: "f"): value = character - UInt8(ascii: "a") + 10
      default: return nil
      }
      if let first = high.take() { bytes.append(first << 4 | value) } else { high = value }
    }
    self.bytes = bytes
  }

  /// 64 lower-case hex digits.
  public var hex: String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }

  /// `sha256:` and the hex digits.
  public var description: String { "sha256:" + hex }

  /// In the order of their texts.
  public static func < (a: SHA256Digest, b: SHA256Digest) -> Bool { a.bytes.lexicographicallyPrecedes(b.bytes) }
}
