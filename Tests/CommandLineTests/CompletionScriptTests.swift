import ArgumentParser
import Testing

@testable import vmpool

/// The other names of commands in the completion scripts. A system check has bash complete them.
@Suite struct CompletionScriptTests {
  @Test func everyOtherNameIsKnown() {
    let all = CompletionScript.aliases.flatMap { entry in entry.aliases.map { (entry.parent + [$0], entry.name) } }
    let names = Dictionary(all.map { ($0.joined(separator: " "), $1) }) { first, _ in first }
    #expect(names["vmpool ps"] == "vms" && names["vmpool vms ls"] == "list" && names["vmpool images delete"] == "rm")
  }

  @Test(arguments: [CompletionShell.bash, .zsh]) func shellsWithFunctionsAskForTheName(shell: CompletionShell) {
    let script = CompletionScript.teachingAliases(VMPoolCommand.completionScript(for: shell))
    #expect(script.contains("'_vmpool ps'|'_vmpool ls') printf %s vms ;;"))
    #expect(script.contains("'_vmpool_pools get') printf %s show ;;"))
    // Where it is defined, and at each of the commands that have commands.
    let parents = 1 + VMPoolCommand.configuration.subcommands.count { !$0.configuration.subcommands.isEmpty }
    #expect(script.split(separator: "__vmpool_command", omittingEmptySubsequences: false).count == parents + 2)
  }

  @Test func fishTakesThemWhereItTakesTheName() {
    let lines = CompletionScript.teachingAliases(VMPoolCommand.completionScript(for: .fish)).split(separator: "\n")
    for (line, next) in [
      ("        case 'vms' 'ps' 'ls'", "            set unparsed_tokens[1] 'vms'"),
      ("            case 'rm' 'delete'", "                set unparsed_tokens[1] 'rm'"),
    ] {
      let index = lines.firstIndex { $0 == line }
      #expect(index.map { lines[$0 + 1] } == next[...])
    }
  }

  @Test func otherTextsStayAsTheyAre() {
    let help = VMPoolCommand.helpMessage()
    #expect(CompletionScript.teachingAliases(help) == help)
  }
}
