/// The text of a key, which is the secret: `vmp_`, and 32 random bytes with their CRC-32 in base32, 62 characters in all.
///
/// `pattern` finds keys that have leaked into files. A match whose checksum is right is a key, which `init(_:)` says. The
/// alphabet is RFC 4648's in small letters, without padding. Its last character carries three bits.
public struct KeyText: Sendable, Equatable {
  /// The bytes that no one can guess.
  private let secret: [UInt8]

  /// What every key matches, and next to nothing else does: a regular expression of any dialect.
  public static let pattern = "vmp_[a-z2-7]{57}[aeimquy4]"
  /// Bytes of its text.
  public static let length = prefix.utf8.count + digits
  /// Bytes of its secret.
  public static let secretBytes = 32

  private static let prefix = "vmp_"
  /// 36 bytes are 288 bits, in five bits each.
  private static let digits = 58

  /// A new key, of the kernel's random numbers.
  public static func random() -> KeyText {
    var generator = SystemRandomNumberGenerator()
    return KeyText(secret: (0..<secretBytes).map { _ in UInt8.random(in: 0...255, using: &generator) })
  }

  /// The key of that secret, which has `secretBytes` bytes.
  init(secret: [UInt8]) {
    precondition(secret.count == Self.secretBytes)
    self.secret = secret
  }

  /// Reads a key; nil where the text is none. The bytes of a key have one spelling.
  public init?(_ text: String) {
    let bytes = text.utf8
    guard bytes.count == Self.length, text.hasPrefix(Self.prefix) else { return nil }
    var read: [UInt8] = []
    read.reserveCapacity(Self.secretBytes + 4)
    // The bits that make no whole byte yet, the lowest `bits` of it.
    var pending: UInt32 = 0
    var bits = 0
    for byte in bytes.dropFirst(Self.prefix.utf8.count) {
      guard let value = Self.value(of: byte) else { return nil }
      pending = pending << 5 | value
      bits += 5
      if bits >= 8 {
        bits -= 8
        read.append(UInt8(truncatingIfNeeded: pending >> bits))
      }
    }
    // The two bits that are left over are zero.
    let checksum = read.suffix(4).reduce(0) { $0 << 8 | UInt32($1) }
    read.removeLast(4)
    guard pending & 3 == 0, checksum == Self.checksum(of: read) else { return nil }
    secret = read
  }

  /// The text itself. It goes to the one who made the key, once, and nowhere else.
  public var text: String {
    let alphabet = Array("abcdefghijklmnopqrstuvwxyz234567".utf8)
    var text = Array(Self.prefix.utf8)
    var pending: UInt32 = 0
    var bits = 0
    let checksum = Self.checksum(of: secret)
    for byte in secret + [24, 16, 8, 0].map({ UInt8(truncatingIfNeeded: checksum >> $0) }) {
      pending = pending << 8 | UInt32(byte)
      bits += 8
      while bits >= 5 {
        bits -= 5
        text.append(alphabet[Int(pending >> bits & 31)])
      }
    }
    text.append(alphabet[Int(pending << (5 - bits) & 31)])
    return String(decoding: text, as: UTF8.self)
  }

  private static func value(of byte: UInt8) -> UInt32? {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(byte - UInt8(ascii: "a"))
    case UInt8(ascii: "2")...UInt8(ascii: "7"): UInt32(byte - UInt8(ascii: "2") + 26)
    default: nil
    }
  }

  /// CRC-32 as in zlib and Ethernet; the highest byte comes first in the text.
  private static func checksum(of bytes: [UInt8]) -> UInt32 {
    var crc = UInt32.max
    for byte in bytes {
      crc ^= UInt32(byte)
      for _ in 0..<8 { crc = crc >> 1 ^ (crc & 1 == 1 ? 0xEDB8_8320 : 0) }
    }
    return ~crc
  }
}

extension KeyText: CustomStringConvertible {
  /// Not the text: a key that is printed by mistake stays secret.
  public var description: String { "vmp_…" }
}

extension KeyText: CustomReflectable {
  /// Without the secret, for the same reason.
  public var customMirror: Mirror { Mirror(self, children: []) }
}
