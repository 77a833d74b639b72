import ArgumentParser
import ServerConfiguration

/// `vmpoold check-config FILE`.
struct CheckConfig: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check-config",
    abstract: "Says what is wrong in a configuration file.",
    discussion: """
      Prints FILE:LINE:COLUMN: MESSAGE for each mistake, and nothing if there is none. Whether a pool's image exists \
      and fits the host is found out when the server starts.

      Exit status: 0 when the file is right, 65 when it is not, 66 when it cannot be read.
      """)

  @Argument(help: "The file.", completion: .file(extensions: ["yaml", "yml"]))
  var file: String

  func run() throws {
    do throws(ConfigurationError) {
      _ = try ConfigurationFile(path: file)
    } catch {
      switch error {
      case .mistakes:
        for line in error.lines { writeLine(to: 1, line) }
        throw ExitCode(65)
      case .cannotRead:
        for line in error.lines { writeLine(to: 2, "vmpoold: " + line) }
        throw ExitCode(66)
      }
    }
  }
}
