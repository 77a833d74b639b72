import ArgumentParser

/// The candidate that a misspelt word most likely means; nil where none is near. Near is one wrong, missing, additional
/// or swapped character for every three of the word, and at least one.
func nearest(to word: String, in candidates: some Sequence<String>) -> String? {
  let distances = candidates.map { (distance: editDistance($0, word), name: $0) }
  guard let best = distances.min(by: { ($0.distance, $0.name) < ($1.distance, $1.name) }) else { return nil }
  return best.distance <= max(1, word.count / 3) ? best.name : nil
}

/// How many characters have to be replaced, inserted, deleted or swapped with their neighbour to make one of the other
/// (optimal string alignment).
func editDistance(_ a: String, _ b: String) -> Int {
  let (a, b) = (Array(a), Array(b))
  var before: [Int] = []
  var last = Array(0...b.count)
  for i in a.indices {
    var row = [i + 1]
    for j in b.indices {
      var cost = min(last[j] + (a[i] == b[j] ? 0 : 1), last[j + 1] + 1, row[j] + 1)
      if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, before[j - 1] + 1) }
      row.append(cost)
    }
    (before, last) = (last, row)
  }
  return last[b.count]
}

/// Better words for what the parser says of a wrong command line.
enum UsageHints {
  /// The message with a hint about a value that begins with a dash; another message where a command is unknown.
  static func explain(_ message: String, arguments: [String]) -> String {
    guard let error = message.split(separator: "\n").first.map(String.init) else { return message }
    if error.contains("Missing value for"), let option = dashedValue(in: error, arguments) {
      let hint = "Hint:  A value that begins with a dash is given with an equals sign: \(option)=-VALUE"
      return message.replacing(error, with: error + "\n" + hint, maxReplacements: 1)
    }
    // The parser takes a word that is no command for a superfluous argument.
    if error.contains("nexpected argument"), let word = unknownCommand(arguments) {
      return "Error: There is no command \(word.text).\(word.suggestion)"
    }
    return message
  }

  /// What is wrong with a command line that the parser takes: an option given twice, or help for what is no command.
  static func mistake(in arguments: [String]) -> String? {
    if let mistake = repetition(in: arguments) { return mistake }
    guard arguments.first == "help", let word = unknownCommand(Array(arguments.dropFirst())), word.text != "help" else {
      return nil
    }
    return "There is no command \(word.text).\(word.suggestion)"
  }

  /// What is wrong with an option that is given twice, of which the parser would take the last without a word.
  static func repetition(in arguments: [String]) -> String? {
    // What follows is another program's.
    if arguments.first == BenchCommand.configuration.commandName { return nil }
    let options = arguments.prefix { $0 != "--" }.filter { $0.hasPrefix("-") && $0 != "-" }
      .map { String($0.prefix { $0 != "=" }) }
    let counts = Dictionary(options.map { ($0, 1) }, uniquingKeysWith: +)
    guard let option = options.first(where: { counts[$0, default: 0] > 1 && !repeatable.contains($0) }) else {
      return nil
    }
    return "\(option) is given twice; give it once."
  }

  /// The options that may be repeated; a test holds this to the commands.
  static let repeatable: Set<String> = ["--module", "--block", "--env", "--label"]

  /// The option of a `Missing value for` whose value on the command line begins with a dash.
  private static func dashedValue(in error: String, _ arguments: [String]) -> String? {
    zip(arguments, arguments.dropFirst()).first { option, value in
      option.hasPrefix("-") && value.hasPrefix("-") && value != "-" && error.contains("'\(option) ")
    }?.0
  }

  /// Options that may stand before a command, and have a value.
  private static let takesValue = ["--server", "--context", "--timeout", "--cacert", "--cert", "--client-key"]

  /// The first word that stands where a command should, but is not one, and what to say about it.
  private static func unknownCommand(_ arguments: [String]) -> (text: String, suggestion: String)? {
    var (node, path): (any ParsableCommand.Type, [String]) = (VMPoolCommand.self, ["vmpool"])
    var words = arguments[...]
    while let word = words.popFirst() {
      if word.hasPrefix("-") {
        if takesValue.contains(word) { words = words.dropFirst() }
        continue
      }
      let children = node.configuration.subcommands
      if children.isEmpty { return nil }
      if let next = children.first(where: { $0.names.contains(word) }) {
        (node, path) = (next, path + [word])
        continue
      }
      return (word, suggestion(for: word, below: node, path))
    }
    return nil
  }

  /// A command of that name elsewhere, or one of nearly that name here.
  private static func suggestion(for word: String, below node: any ParsableCommand.Type, _ path: [String]) -> String {
    let elsewhere = VMPoolCommand.configuration.subcommands.flatMap { group in
      group.configuration.subcommands.filter { $0.names.contains(word) }.map { _ in
        "`vmpool \(group.configuration.commandName ?? "") \(word)`"
      }
    }
    if path == ["vmpool"], !elsewhere.isEmpty { return " Did you mean \(elsewhere.joined(separator: " or "))?" }
    var names = node.configuration.subcommands.flatMap { $0.names }
    // `vm` means `vms`. What deletes is offered for a word that at least begins like it.
    if names.contains(word + "s") { names = [word + "s"] }
    names.removeAll { ["rm", "delete"].contains($0) && $0.first != word.first }
    guard let near = nearest(to: word, in: names) else { return " `\(path.joined(separator: " ")) --help` lists them." }
    return " Did you mean `\((path + [near]).joined(separator: " "))`?"
  }
}

extension ParsableCommand {
  /// The words that call it, its own name first.
  static var names: [String] {
    let name = configuration.commandName ?? "\(Self.self)".lowercased()
    return [name] + configuration.aliases
  }
}
