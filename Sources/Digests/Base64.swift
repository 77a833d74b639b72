import CNettle

/// Base64 as RFC 4648, section 4, writes it, and nothing else: padded, without white space, the unused bits zero. The
/// bytes have one spelling.
public enum Base64 {
  /// The bytes' spelling.
  public static func encoded(_ bytes: [UInt8]) -> String {
    let length = (bytes.count + 2) / 3 * 4
    // Safe: Nettle writes as many characters as there are groups of three bytes, each four, and reads `count` bytes.
    return unsafe String(unsafeUninitializedCapacity: length) { text in
      unsafe bytes.withUnsafeBufferPointer { bytes in
        guard let source = bytes.baseAddress, let target = text.baseAddress else { return }
        unsafe target.withMemoryRebound(to: CChar.self, capacity: length) { target in
          unsafe nettle_base64_encode_raw(target, bytes.count, source)
        }
      }
      return length
    }
  }

  /// The bytes; nil where `text` is not their spelling.
  public static func decoded(_ text: String) -> [UInt8]? {
    let count = text.utf8.count
    guard count % 4 == 0 else { return nil }
    var isWhole = false
    // Safe: Nettle writes at most three bytes for four characters, and reads `count` of them.
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count / 4 * 3 + 2) { bytes, decodedCount in
      var context = unsafe base64_decode_ctx()
      unsafe nettle_base64_decode_init(&context)
      let isBase64 = unsafe text.withCString {
        unsafe nettle_base64_decode_update(&context, &decodedCount, bytes.baseAddress, count, $0)
      }
      isWhole = unsafe isBase64 == 1 && nettle_base64_decode_final(&context) == 1
      if !isWhole { decodedCount = 0 }
    }
    // It passes over white space, and does not look at unused bits.
    return isWhole && encoded(bytes) == text ? bytes : nil
  }
}
