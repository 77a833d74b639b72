import ArgumentParser

/// What a guest is told, for commands that take a VM or make one.
struct GuestArgumentOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "What the guest is told instead of the image's own command line, if its kind has one.", valueName: "text"))
  var commandLine: String?

  @Option(
    help: ArgumentHelp(
      "A variable that the guest is told of, if its kind has an environment; may be given several times.",
      valueName: "name=value"))
  var env: [Label] = []

  func validate() throws {
    guard Set(env.map(\.name)).count == env.count else { throw ValidationError("An --env is given twice.") }
  }

  /// The variables by name; nil where none are given.
  var environment: [String: String]? {
    env.isEmpty ? nil : Dictionary(uniqueKeysWithValues: env.map { ($0.name, $0.value) })
  }
}
