import Devices
import Testing

@testable import PoolManager

/// A text is found wherever the looks fall, and what only looks like it is not.
@Suite struct ConsoleSearchTests {
  @Test(arguments: [
    ("login:", "Debian\nlogin:", true), ("login:", "Debian\nlogin", false), ("aab", "aaab", true),
    ("abcabd", "abcabcabd", true), ("aa", "aba", false), ("a", "a", true), ("ab", "xabyab", true),
    ("abab", "abacabab", true),
    ("é", "caf\u{E9}", true),
  ])
  func aTextIsFound(text: String, output: String, isThere: Bool) {
    let bytes = Array(output.utf8)
    for piece in 1...bytes.count {
      let console = Console()
      var search = ConsoleSearch(for: text)
      var isFound = false
      for start in stride(from: 0, to: bytes.count, by: piece) {
        console.append(Array(bytes[start..<min(start + piece, bytes.count)]))
        isFound = search.finds(in: console) || isFound
      }
      #expect(isFound == isThere, "\(text) in \(output), \(piece) at a time")
    }
  }

  /// Two halves with something in between that was lost are no whole.
  @Test func whatWasDroppedIsNoPartOfIt() {
    let console = Console(outputCapacity: 4)
    var search = ConsoleSearch(for: "abcd")
    console.append(Array("ab".utf8))
    var found = [search.finds(in: console)]
    // Of six bytes four are kept: they begin with the rest of the text.
    console.append(Array("xxcdyy".utf8))
    found.append(search.finds(in: console))
    console.append(Array("abcd".utf8))
    found.append(search.finds(in: console))
    #expect(found == [false, false, true])
  }

  @Test func theConsolesEndIsShownOnOneLine() {
    let console = Console()
    console.append(Array(repeating: UInt8(ascii: "x"), count: 1000))
    console.append(Array("no root\r\n\u{1B}[0m".utf8) + [0xFF])
    let text = "\(TemplateFailure.boot(reason: "it is late", console: console))"
    #expect(text.contains("it is late") && text.hasSuffix("xno root\\r\\n\\u{1B}[0m\u{FFFD}"), "\(text)")
    #expect(text.utf8.count < 600)
    #expect("\(TemplateFailure.boot(reason: "it is late", console: Console()))".hasSuffix("it has printed nothing"))
  }
}
