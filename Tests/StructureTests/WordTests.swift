import Foundation
import Testing

/// The words that CONTRIBUTING.md keeps out of documents and public comments, since they hide who does what.
struct WordTests {
  @Test func noSentenceHidesItsActor() throws {
    for (path, text) in try Repository.prose() {
      for (number, line) in Self.lines(in: text, of: path) {
        Issue.record("\(path):\(number): a word like \"whoever\" or \"is told\" hides who acts: \(line)")
      }
    }
  }

  @Test(arguments: [
    ("Whoever waits is woken.", 1), ("Nobody and somebody.\nwhatever", 2), ("What is none is refused.", 1),
    ("The client is told, and the log tells.", 1), ("Tell it to the guest; the teller sees nothing.", 0),
  ])
  func findsTheWords(text: String, count: Int) {
    #expect(Self.lines(in: text, of: "a.md").count == count)
  }

  /// The lines with one of the words: of a source file, among its documentation comments.
  private static func lines(in text: String, of path: String) -> [(number: Int, line: String)] {
    // Of the reference's own making: a regular expression cannot be kept in a constant that threads share.
    let words = /\b(whoever|whomever|whatever|somebody|nobody|what is none|(is|are|be|been|was|were) told|tells)\b/
      .ignoresCase()
    var found: [(number: Int, line: String)] = []
    for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      let trimmed = line.drop(while: \.isWhitespace)
      if path.hasSuffix(".swift"), !trimmed.hasPrefix("///") { continue }
      if trimmed.contains(words) { found.append((index + 1, String(trimmed))) }
    }
    return found
  }
}
