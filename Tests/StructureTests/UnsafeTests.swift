import Testing

/// Each `unsafe` has its reason: a comment with the word "safe" in its line, or above it in the same block of lines
/// (those that no blank line parts). A file's head is no place for it: a reader of the line would not see it. The one
/// exception is a file that wraps one C structure, which gives the one reason of all its calls with the words "Safe, in
/// all of this file".
struct UnsafeTests {
  @Test func everyUnsafeExpressionSaysWhyItIsSafe() throws {
    for (path, text) in try Repository.files(in: "Sources", endings: ["swift"]) {
      for line in Self.linesWithoutReason(text) {
        Issue.record("\(path):\(line): `unsafe` without a line, in its block, that says why it is safe")
      }
    }
  }

  @Test(arguments: [
    ("let a = unsafe f()", [1]), ("let a = unsafe f()  // Safe: so it is.", []),
    ("// Safe: so it is.\nlet a = unsafe f()\nlet b = unsafe f()", []),
    ("// Safe: so it is.\n\nlet a = unsafe f()", [3]),
    ("@unsafe\nfunc f() {}\n// not unsafe", []), ("unsafe f()  // careful", [1]), ("let isUnsafe = unsafely", []),
  ])
  func findsWhatHasNoReason(text: String, lines: [Int]) {
    #expect(Self.linesWithoutReason(text) == lines)
  }

  /// The numbers of the lines, from 1.
  private static func linesWithoutReason(_ text: String) -> [Int] {
    var hasReason = false
    var holdsForTheRest = false
    var found: [Int] = []
    for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      if line.allSatisfy(\.isWhitespace) { hasReason = false }
      let comment = line.firstRange(of: "//")
      if let comment, words(line[comment.upperBound...]).contains(where: { $0.lowercased() == "safe" }) {
        hasReason = true
      }
      let code = line[..<(comment?.lowerBound ?? line.endIndex)]
      if line.contains("// Safe, in all of this file") { holdsForTheRest = true }
      if !hasReason, !holdsForTheRest, words(code.replacing("@unsafe", with: "")).contains("unsafe") {
        found.append(index + 1)
      }
    }
    return found
  }

  private static func words(_ text: Substring) -> [Substring] {
    text.split { !$0.isLetter && !$0.isNumber && $0 != "_" }
  }
}
