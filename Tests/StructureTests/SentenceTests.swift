import Foundation
import Testing

/// Sentences of documents and documentation comments have 25 words at most: one idea each.
struct SentenceTests {
  private static let limit = 25

  @Test func noSentenceIsLong() throws {
    for (path, text) in try Repository.prose() {
      for (line, sentence, count) in Self.longSentences(in: text, of: path) {
        Issue.record("\(path):\(line): a sentence of \(count) words, of which there may be \(Self.limit): \(sentence)")
      }
    }
  }

  @Test(arguments: [
    ("a.md", 25, 0), ("a.md", 26, 1), ("a.swift", 26, 0), ("a.yaml", 26, 0),
  ])
  func countsWords(path: String, words: Int, found: Int) {
    let text = Array(repeating: "word", count: words).joined(separator: " ") + "."
    #expect(Self.longSentences(in: text, of: path).count == found)
    #expect(Self.longSentences(in: "/// \(text)\n", of: "a.swift").count == (words > 25 ? 1 : 0))
    #expect(Self.longSentences(in: "description: |\n  \(text)\nkey: 1", of: "a.yaml").count == (words > 25 ? 1 : 0))
  }

  /// Twenty words a piece: joined they are a sentence that is too long, unless something parts them.
  @Test(arguments: [
    ("\n", 1), (". ", 0), (": ", 0), ("? ", 0), ("; ", 1), ("\n\n", 0), ("\n* ", 0), ("\n1. ", 0), (" | ", 1),
    ("\n```\n", 0), ("\n# ", 0), (" `a b. c d` ", 1),
  ])
  func sentencesEndWhereTheyEnd(separator: String, found: Int) {
    let piece = Array(repeating: "word", count: 20).joined(separator: " ")
    #expect(Self.longSentences(in: piece + separator + piece, of: "a.md").count == found)
  }

  @Test func cellsAndCodeStandAlone() {
    let piece = Array(repeating: "word", count: 20).joined(separator: " ")
    #expect(Self.longSentences(in: "| \(piece) | \(piece) |", of: "a.md").isEmpty)
    #expect(Self.longSentences(in: "```\n\(piece) \(piece)\n```\n", of: "a.md").isEmpty)
    #expect(Self.longSentences(in: "`\(piece)` `\(piece)`", of: "a.md").isEmpty)
  }

  // MARK: Reading

  private static func longSentences(
    in text: String, of path: String
  ) -> [(line: Int, sentence: String, words: Int)] {
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    return paragraphs(
      path.hasSuffix(".swift") ? comments(lines) : path.hasSuffix(".yaml") ? descriptions(lines) : lines
    )
    .flatMap { line, text in
      sentences(text).compactMap { sentence in
        let words = sentence.split(separator: " ").count { $0.contains { $0.isLetter || $0.isNumber } }
        return words > limit ? (line, sentence, words) : nil
      }
    }
  }

  /// The lines of documentation comments; an empty line in the place of each other.
  private static func comments(_ lines: [Substring]) -> [Substring] {
    lines.map { line in
      let comment = line.drop(while: \.isWhitespace)
      return comment.hasPrefix("///") ? comment.dropFirst(3) : ""
    }
  }

  /// The lines of an OpenAPI document's blocks of text; an empty line in the place of each other.
  private static func descriptions(_ lines: [Substring]) -> [Substring] {
    var block: Int?
    return lines.map { line in
      let indentation = line.prefix { $0 == " " }.count
      if let open = block, indentation > open || line.allSatisfy(\.isWhitespace) { return line }
      let words = line.split(separator: " ")
      block = words.last == "|" && words.dropLast().last == "description:" ? indentation : nil
      return ""
    }
  }

  /// Paragraphs, items of lists and cells of tables, each with the number of its first line. Code and headings are left out.
  private static func paragraphs(_ lines: [Substring]) -> [(line: Int, text: String)] {
    var found: [(line: Int, text: String)] = []
    var isOpen = false
    var isCode = false
    for (index, whole) in lines.enumerated() {
      var line = whole.drop(while: \.isWhitespace)
      if line.hasPrefix("```") { isCode.toggle() }
      guard !isCode, let first = line.first, !"#<`".contains(first) || line.hasPrefix("`") && !line.hasPrefix("```")
      else {
        isOpen = false
        continue
      }
      if first == "|" {
        found += line.split(separator: "|").map { (index + 1, String($0)) }
        isOpen = false
        continue
      }
      let marker = line.prefix { !$0.isWhitespace }
      if ["*", "-", "+"].contains(marker) || marker.last == "." && marker.dropLast().allSatisfy(\.isNumber) {
        line = line.dropFirst(marker.count).drop(while: \.isWhitespace)
        isOpen = false
      }
      if isOpen {
        found[found.count - 1].text += " " + line
      } else {
        found.append((index + 1, String(line)))
        isOpen = true
      }
    }
    return found
  }

  /// The sentences of a paragraph, in which code is one word and a link is its text.
  private static func sentences(_ paragraph: String) -> [String] {
    let text = paragraph.replacing(/`+[^`]*`+/, with: "code").replacing(/\]\([^)]*\)/, with: "]")
    return text.replacing(/([.!?:])([)"”*\]]*)\s+/) { "\($0.1)\($0.2)\n" }.split(separator: "\n").map(String.init)
  }
}
