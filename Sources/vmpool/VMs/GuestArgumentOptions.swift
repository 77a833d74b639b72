import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport
import GuestImages

/// What a guest finds as its command line and environment, for commands that lease a VM or create one.
struct GuestArgumentOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("The guest's command line, instead of the image's own.", valueName: "text"))
  var commandLine: String?

  @Option(
    help: ArgumentHelp("Words that are added to the image's own command line.", valueName: "text"))
  var append: String?

  @Option(
    help: ArgumentHelp(
      "A variable of the guest's environment, if its kind has one; may be repeated.", valueName: "name=value"))
  var env: [Label] = []

  func validate() throws {
    if commandLine != nil && append != nil { throw ValidationError("Give either --command-line or --append.") }
    guard Set(env.map(\.name)).count == env.count else { throw ValidationError("An --env is given twice.") }
  }

  /// The variables by name; nil where none are given.
  var environment: [String: String]? {
    env.isEmpty ? nil : Dictionary(uniqueKeysWithValues: env.map { ($0.name, $0.value) })
  }

  /// The command line for a VM of that image; nil where the image's own is meant. Says on stderr where it takes Linux its
  /// console. `--append` costs a request, and so does a `--command-line` without a console.
  func commandLine(ofImage name: @autoclosure () throws -> String?, _ client: VMPoolClient) throws -> String? {
    if let append, let name = try name() { return try client.image(name).commandLine + " " + append }
    if let commandLine, !LinuxConsole.isNamed(in: commandLine), let name = try name() {
      LinuxConsole.hint(try client.image(name).kind, commandLine: commandLine)
    }
    return commandLine
  }
}

/// The console of Linux guests, which their command line names.
enum LinuxConsole {
  static func isNamed(in commandLine: String) -> Bool { commandLine.contains("console=") }

  /// Says that the console will stay empty where the guest is Linux, and its command line names none.
  static func hint(_ kind: String?, commandLine: String) {
    guard kind == GuestKind.linux.rawValue, !isNamed(in: commandLine) else { return }
    StandardError.complain(
      "hint: the command line names no console, so the guest's stays empty; --append adds words to the default, "
        + "or add console=ttyS0")
  }
}

extension ImageDocument {
  /// The command line of a guest that is given no other.
  var commandLine: String { manifest?.commandLine ?? GuestKind(rawValue: kind)?.defaultCommandLine ?? "" }
}
