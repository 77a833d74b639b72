import ArgumentParser

/// The parser's completion scripts, which do not know the other names of commands, and are taught them.
enum CompletionScript {
  /// The script for a shell in which a command's other names complete what the command does. Any other text as it is.
  static func teachingAliases(_ script: String) -> String {
    let bash = #"    local -r subcommand="${unparsed_words[0]}""#
    let zsh = #"        case "${words[1]}" in"#
    if script.contains(bash) {
      return script.replacing(
        bash, with: #"    local -r subcommand="$(__vmpool_command "${FUNCNAME[0]}" "${unparsed_words[0]}")""#)
        + resolver
    }
    if script.contains(zsh) {
      let named = #"        words[1]="$(__vmpool_command "${funcstack[1]}" "${words[1]}")""# + "\n" + zsh
      // Not at the end, where zsh calls the first function.
      return script.replacing(zsh, with: named)
        .replacing("\n_vmpool() {", with: resolver + "\n_vmpool() {", maxReplacements: 1)
    }
    return script.contains("function __vmpool_parse_tokens") ? fish(script) : script
  }

  /// Commands that have other names, by the function that completes the words behind their parent: `_vmpool_vms`.
  static let aliases: [(parent: [String], name: String, aliases: [String])] = aliases(
    below: VMPoolCommand.self, path: ["vmpool"])

  private static func aliases(
    below command: any ParsableCommand.Type, path: [String]
  ) -> [(parent: [String], name: String, aliases: [String])] {
    command.configuration.subcommands.flatMap { child in
      let names = child.names
      let own = names.count > 1 ? [(parent: path, name: names[0], aliases: Array(names.dropFirst()))] : []
      return own + aliases(below: child, path: path + [names[0]])
    }
  }

  /// A function of bash and of zsh: the name of the command that a word stands for.
  private static var resolver: String {
    let cases = aliases.map { entry in
      let function = "_" + entry.parent.joined(separator: "_")
      let patterns = entry.aliases.map { "'\(function) \($0)'" }.joined(separator: "|")
      return "    \(patterns)) printf %s \(entry.name) ;;"
    }
    return """

      __vmpool_command() {
          case "${1} ${2}" in
      \(cases.joined(separator: "\n"))
          *) printf %s "${2}" ;;
          esac
      }

      """
  }

  /// fish goes down the commands in one function, in which each has a case, four columns further in than its parent's.
  private static func fish(_ script: String) -> String {
    var path: [String] = []
    let lines = script.split(separator: "\n", omittingEmptySubsequences: false).flatMap { line -> [String] in
      let indent = line.prefix { $0 == " " }.count
      guard let match = line.wholeMatch(of: /\s*case '([a-z-]+)'/) else { return [String(line)] }
      let name = String(match.1)
      path = path.prefix(indent / 4 - 1) + [name]
      let entry = aliases.first { $0.parent + [$0.name] == path }
      guard let entry else { return [String(line)] }
      let names = ([name] + entry.aliases).map { "'\($0)'" }.joined(separator: " ")
      let space = String(repeating: " ", count: indent)
      return ["\(space)case \(names)", "\(space)    set unparsed_tokens[1] '\(name)'"]
    }
    return lines.joined(separator: "\n")
  }
}
