import Access
import Foundation
import TestSupport
import Testing

/// The text of a key: one spelling, and nothing else is one.
@Suite struct KeyTextTests {
  /// The checksum as Python's zlib.crc32 has it, the base32 as its base64.b32encode.
  private static let known = "vmp_aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypzcjt6ri"

  @Test func aKnownKeyIsRead() throws {
    let key = try #require(KeyText(Self.known))
    #expect(key.text == Self.known)
    #expect(Self.known.utf8.count == KeyText.length)
  }

  @Test func keysComeBackFromTheirTextsAndMatchThePattern() throws {
    let pattern = try Regex(KeyText.pattern)
    var texts: Set<String> = []
    for _ in 0..<1000 {
      let key = KeyText.random()
      #expect(KeyText(key.text) == key)
      #expect(try pattern.wholeMatch(in: key.text) != nil)
      texts.insert(key.text)
    }
    #expect(texts.count == 1000)
  }

  @Test func aKeyThatIsPrintedStaysSecret() {
    let key = KeyText.random()
    var dumped = ""
    dump(key, to: &dumped)
    for text in ["\(key)", String(reflecting: key), dumped, "\([key])"] {
      #expect(!text.contains(key.text.dropFirst(4)), "\(text)")
    }
  }

  /// Every other byte in every place, one more, one less: the checksum finds each change of up to 32 bits.
  @Test func aSingleChangeIsFound() {
    let bytes = Array(Self.known.utf8)
    for place in bytes.indices {
      for byte in UInt8(0)...127 where byte != bytes[place] {
        var changed = bytes
        changed[place] = byte
        #expect(KeyText(String(decoding: changed, as: UTF8.self)) == nil, "\(byte) at \(place)")
      }
      var shorter = bytes
      shorter.remove(at: place)
      #expect(KeyText(String(decoding: shorter, as: UTF8.self)) == nil)
    }
    for text in ["", "vmp_", Self.known + "a", " " + Self.known, Self.known.uppercased(), Self.known + "\0"] {
      #expect(KeyText(text) == nil, "\(text)")
    }
  }

  /// Random texts of random lengths, and keys with random changes: what is read has that very spelling.
  @Test func noTextMeansAKeyButItsOwnSpelling() {
    var generator = SeededGenerator(for: "noTextMeansAKeyButItsOwnSpelling")
    let alphabet = Array("abcdefghijklmnopqrstuvwxyz234567".utf8)
    for _ in 0..<20_000 {
      var bytes = Array(Self.known.utf8)
      for _ in 0..<Int.random(in: 0...4, using: &generator) {
        let place = Int.random(in: 0...bytes.count, using: &generator)
        let byte =
          Bool.random(using: &generator)
          ? alphabet[Int.random(in: 0..<32, using: &generator)] : UInt8.random(in: 0...255, using: &generator)
        switch Int.random(in: 0..<3, using: &generator) {
        case 0: bytes.insert(byte, at: place)
        case 1 where place < bytes.count: bytes.remove(at: place)
        default: if place < bytes.count { bytes[place] = byte }
        }
      }
      let text = String(decoding: bytes, as: UTF8.self)
      if let key = KeyText(text) { #expect(key.text == text) }
      if text == Self.known { #expect(KeyText(text) != nil) }
    }
  }

  @Test func hashesAreEqualWhereAllOfThemIs() throws {
    let bytes = (0..<32).map { UInt8($0) }
    let hash = try #require(KeyHash(bytes: bytes))
    #expect(hash.bytes == bytes)
    #expect(KeyHash(bytes: bytes) == hash)
    for place in 0..<32 {
      var other = bytes
      other[place] ^= 0x80
      #expect(KeyHash(bytes: other) != hash, "\(place)")
    }
    #expect(KeyHash(bytes: Array(bytes.dropLast())) == nil)
  }

  @Test(arguments: [
    "", "key-", "key-0123456789abcde", "key-0123456789abcdef0", "key-0123456789abcdeF", "vm-0123456789ab4a60",
  ])
  func whatHasNotTheFormIsNoID(text: String) {
    #expect(!KeyRecord.isID(text))
    #expect(KeyRecord.isID(KeyRecord.randomID()))
  }
}
