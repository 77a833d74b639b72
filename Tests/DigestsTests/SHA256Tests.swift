import Testing

@testable import Digests

struct SHA256Tests {
  /// FIPS 180-4's examples, and lengths around a block.
  @Test(arguments: [
    ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    (
      "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    ),
    (String(repeating: "a", count: 1_000), "41edece42d63e8d9bf515a9ba6932e1c20cbc9f5a5d134645adb5db1b9737ea3"),
  ]) func knownHashes(text: String, hex: String) {
    let digest = SHA256Digest(of: Array(text.utf8))
    #expect(digest.hex == hex)
    #expect(digest.description == "sha256:" + hex)
    #expect(SHA256Digest("sha256:" + hex) == digest)
  }

  @Test func piecesMakeTheSameHashAsTheWhole() {
    let bytes = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 * 7) }
    for size in [1, 55, 63, 64, 65, 4096] {
      var hasher = SHA256Hasher()
      for start in stride(from: 0, to: bytes.count, by: size) {
        hasher.update(Array(bytes[start..<min(start + size, bytes.count)]))
      }
      #expect(hasher.digest() == SHA256Digest(of: bytes), "in pieces of \(size)")
      #expect(hasher.digest() == SHA256Digest(of: []), "it begins anew")
    }
  }

  @Test(arguments: [
    "", "sha256:", "sha256", String(repeating: "a", count: 64), "sha256:" + String(repeating: "a", count: 63),
    "sha256:" + String(repeating: "a", count: 65), "sha256:" + String(repeating: "A", count: 64),
    "sha512:" + String(repeating: "a", count: 64), "sha256:" + String(repeating: "g", count: 64),
    "SHA256:" + String(repeating: "a", count: 64), " sha256:" + String(repeating: "a", count: 64),
    "sha256:+" + String(repeating: "a", count: 63), "sha256:" + String(repeating: "é", count: 32),
    "sha256:../../../../../../../../../../../../../../../../../../../../etc",
  ]) func otherTextsAreNone(text: String) {
    #expect(SHA256Digest(text) == nil)
  }
}
