import CNettle

/// Computes a SHA-256 hash piece by piece, by Nettle, which uses the processor's own instructions where it has them.
///
/// Nettle rather than another library, because libmicrohttpd's TLS library brings it along, and its whole state is a
/// plain value.
public struct SHA256Hasher: Sendable {
  private var context = sha256_ctx()

  /// Of no bytes yet.
  public init() {
    // Safe, here and below: the context is this value's own, and initialised before anything else is done with it.
    unsafe nettle_sha256_init(&context)
  }

  /// Takes the next bytes.
  public mutating func update(_ bytes: RawSpan) {
    // Safe: Nettle reads as many bytes as it is told that there are.
    unsafe bytes.withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress else { return }
      unsafe nettle_sha256_update(&context, bytes.count, base.assumingMemoryBound(to: UInt8.self))
    }
  }

  /// Takes the next bytes.
  public mutating func update(_ bytes: [UInt8]) {
    // Safe: every byte of an array of integers is initialised.
    update(unsafe bytes.span.bytes)
  }

  /// The hash of all bytes taken. Begins anew.
  public mutating func digest() -> SHA256Digest {
    // Safe: Nettle writes as many bytes as it is told, for which there is room.
    SHA256Digest(
      bytes: unsafe [UInt8](unsafeUninitializedCapacity: 32) { buffer, count in
        unsafe nettle_sha256_digest(&context, 32, buffer.baseAddress)
        count = 32
      })
  }
}
