/// The octet classes of RFC 9110 and RFC 3986.
enum ASCII {
  static func lowercase(_ byte: UInt8) -> UInt8 {
    byte &- 0x41 < 26 ? byte | 0x20 : byte
  }

  /// RFC 9110's tchar: what a method and a field name are made of.
  static func isToken(_ byte: UInt8) -> Bool {
    // One bit an octet: 0x20...0x3F and 0x40...0x7F.
    let low: UInt64 = 0x03FF_6CFA_0000_0000
    let high: UInt64 = 0x57FF_FFFF_C7FF_FFFE
    guard byte < 0x80 else { return false }
    return (byte < 0x40 ? low >> byte : high >> (byte & 0x3F)) & 1 == 1
  }

  /// RFC 3986's octets of a host and port, a percent sign among them; no user information.
  static func isHostOctet(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
    // - . _ ~ % ! $ & ' ( ) * + , ; = : [ ]
    case 0x2D, 0x2E, 0x5F, 0x7E, 0x25, 0x21, 0x24, 0x26...0x2C, 0x3B, 0x3D, 0x3A, 0x5B, 0x5D: true
    default: false
    }
  }

  static func isVisible(_ byte: UInt8) -> Bool { byte > 0x20 && byte < 0x7F }

  static func isControl(_ byte: UInt8) -> Bool { byte < 0x20 || byte == 0x7F }

  static func hexDigit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte - 0x30
    case 0x41...0x46: byte - 0x37
    case 0x61...0x66: byte - 0x57
    default: nil
    }
  }

  static let hexDigits: [UInt8] = Array("0123456789abcdef".utf8)

  // The rest runs several times a request: loops over spans, which neither copy nor count references.

  static func isToken(_ bytes: Span<UInt8>) -> Bool {
    for index in bytes.indices where !isToken(bytes[index]) { return false }
    return !bytes.isEmpty
  }

  /// True for a field's value: no control characters but the tab.
  static func isValue(_ bytes: Span<UInt8>) -> Bool {
    for index in bytes.indices where isControl(bytes[index]) && bytes[index] != 0x09 { return false }
    return true
  }

  /// `lowercase` is compared without regard to the case of `bytes`.
  static func equal(_ bytes: Span<UInt8>, _ lowercase: StaticString) -> Bool {
    guard bytes.count == lowercase.utf8CodeUnitCount else { return false }
    return lowercase.withUTF8Buffer { wanted in
      // Safe: a literal's bytes live for ever, and the counts are equal.
      for index in bytes.indices where unsafe Self.lowercase(bytes[index]) != wanted[index] { return false }
      return true
    }
  }
}
