import Digests
import Foundation
import TestSupport
import Testing

@Suite struct Base64Tests {
  /// RFC 4648, section 10.
  @Test(arguments: [
    ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
    ("foobar", "Zm9vYmFy"),
  ]) func standardsExamples(bytes: String, text: String) {
    #expect(Base64.encoded(Array(bytes.utf8)) == text)
    #expect(Base64.decoded(text) == Array(bytes.utf8))
  }

  @Test(arguments: [
    "Z", "Zg", "Zg=", "Zg===", "=Zg=", "Zh==", "Zm9=", "Zm8=Zm8=", "Zg==\n", " Zg==", "Zm 9v", "Zm9\0", "Zm-_", "Zm9é",
    "====", "Zg==Zg==", "Z=g=",
  ]) func everyOtherSpellingIsRefused(text: String) {
    #expect(Base64.decoded(text) == nil)
  }

  @Test func randomBytesComeBackAsFoundationSpellsThem() {
    var generator = SeededGenerator(for: "Base64Tests.randomBytes")
    for count in 0..<300 {
      let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
      #expect(Base64.encoded(bytes) == Data(bytes).base64EncodedString())
      #expect(Base64.decoded(Base64.encoded(bytes)) == bytes)
    }
  }
}
