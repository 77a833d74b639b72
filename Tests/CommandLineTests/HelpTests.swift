import ArgumentParser
import Testing

@testable import vmpool

/// The help texts of every command.
@Suite struct HelpTests {
  /// Every command below one, with its words.
  private static func commands(
    below node: any ParsableCommand.Type = VMPoolCommand.self, _ path: [String] = ["vmpool"]
  ) -> [(path: [String], command: any ParsableCommand.Type)] {
    [(path, node)]
      + node.configuration.subcommands.flatMap { child in
        commands(below: child, path + [child.configuration.commandName ?? "\(child)"])
      }
  }

  private static func help(_ command: any ParsableCommand.Type) -> String {
    VMPoolCommand.helpMessage(for: command, columns: 80)
  }

  @Test func noLineEndsWithABackslash() {
    for (path, command) in Self.commands() {
      #expect(!Self.help(command).contains("\\"), "\(path.joined(separator: " ")) --help")
    }
  }

  @Test func everyCommandAndOptionIsExplained() {
    for (path, command) in Self.commands() {
      let words = path.joined(separator: " ")
      #expect(!command.configuration.abstract.isEmpty, "\(words) has no abstract")
      #expect(command.configuration.abstract.hasSuffix("."), "\(words)'s abstract is no sentence")
      for line in Self.help(command).split(separator: "\n") where line.hasPrefix("  -") {
        #expect(line.split(separator: " ").count > 1, "\(words): \(line)")
      }
    }
  }

  @Test func repeatedOptionsAreThoseThatMayBe() {
    var found: Set<String> = []
    for (_, command) in Self.commands() {
      let help = Self.help(command).replacing(/\n {10,}/, with: " ")
      for match in help.matches(of: /\n  (--[a-z-]+) [^\n]*may be repeated/) { found.insert(String(match.1)) }
    }
    #expect(found == UsageHints.repeatable)
  }

  /// The words that CONTRIBUTING.md keeps out of sentences.
  @Test(arguments: ["whoever", "whatever", "somebody", "nobody", "what is none", "is told", "wants "])
  func helpIsPlainEnglish(word: String) {
    for (path, command) in Self.commands() {
      #expect(!Self.help(command).lowercased().contains(word), "\(path.joined(separator: " ")) --help says \(word)")
    }
  }
}
