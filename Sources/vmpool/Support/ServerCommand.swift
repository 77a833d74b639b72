import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport
import Glibc
import JSONCodec

/// Which server, and how long to wait for it. `vmpool` itself has them too, so that they may stand before a subcommand.
struct ServerOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The server: http://host:port, host:port or unix:/path. Default: $VMPOOL_SERVER, else http://127.0.0.1:8080.",
      valueName: "endpoint"),
    completion: .list(["http://127.0.0.1:8080", "unix:/run/vmpool/vmpool.sock"]))
  var server: String?

  @Option(help: ArgumentHelp("How long to wait for an answer, \(DurationArgument.form).", valueName: "duration"))
  var timeout = DurationArgument.seconds(30)

  func validate() throws {
    guard 1...3_600_000 ~= timeout.milliseconds else { throw ValidationError("--timeout is more than 0, at most 1h.") }
    // The environment is looked at only when a server is spoken to.
    if server != nil { _ = try endpoint() }
  }

  func client() throws -> VMPoolClient { try VMPoolClient(endpoint: endpoint(), timeout: timeout.duration) }

  private func endpoint() throws -> Endpoint {
    let text = server ?? environment("VMPOOL_SERVER") ?? "http://127.0.0.1:8080"
    do {
      return try Endpoint(text)
    } catch {
      throw ValidationError("\(server == nil ? "VMPOOL_SERVER" : "--server") \(error).")
    }
  }

  /// What the environment says, unless that is nothing.
  private func environment(_ name: String) -> String? {
    // Safe: the program has one thread and changes no variable; the text is copied at once.
    guard let value = unsafe getenv(name) else { return nil }
    let text = unsafe String(cString: value)
    return text.isEmpty ? nil : text
  }
}

/// How documents are printed. Not an option of `vmpool` itself, which would then take it from every subcommand's own.
struct OutputOptions: ParsableArguments {
  @Flag(help: "Print documents as JSON.")
  var json = false

  /// Prints the document itself with `--json`, else what `text` makes of it.
  func show<Document: Encodable>(_ document: Document, _ text: (Document) -> String) throws {
    if json {
      let bytes = try JSON.encodePretty(document)
      try StandardOutput.print(String(decoding: bytes, as: UTF8.self))
    } else {
      try StandardOutput.print(text(document))
    }
  }
}

/// A command that speaks to a server: what goes wrong there becomes a line on stderr and an exit status.
protocol ServerCommand: ParsableCommand {
  var server: ServerOptions { get }

  func run(_ client: VMPoolClient) throws
}

extension ServerCommand {
  func run() throws {
    do {
      try run(server.client())
    } catch let error as APIError {
      report(error)
      throw error.exitCode
    }
  }

  /// Does something to each of several, reporting what fails and going on. Returns the first failure's status.
  func forEach(_ names: [String], _ action: (String) throws(APIError) -> Void) -> ExitCode? {
    var failure: ExitCode?
    for name in names {
      do {
        try action(name)
      } catch {
        report(error)
        failure = failure ?? error.exitCode
        // The others would only wait for the same.
        if case .unreachable = error { break }
      }
    }
    return failure
  }
}

/// A command that prints what the server says.
protocol DocumentCommand: ServerCommand {
  var output: OutputOptions { get }
}

extension DocumentCommand {
  /// Prints the document itself with `--json`, else what `text` makes of it.
  func show<Document: Encodable>(_ document: Document, _ text: (Document) -> String) throws {
    try output.show(document, text)
  }

  /// Prints a list, as a page with `--json`, else as a table; one line on stderr when there is nothing in it.
  func show<Item: Codable & Sendable>(list items: [Item], of what: String, _ table: ([Item]) -> Table) throws {
    if items.isEmpty && !output.json {
      StandardError.complain("no \(what)")
    } else {
      try show(Page(items: items, nextPageToken: nil)) { table($0.items).text }
    }
  }
}

extension APIError {
  /// What the program exits with; `vmpool --help` lists them.
  var exitCode: ExitCode {
    switch self {
    case .problem(let problem):
      switch problem.status {
      // What is no more is not there, either.
      case 404, 410: ExitCode(2)
      case 429: ExitCode(75)
      default: ExitCode(1)
      }
    case .unreachable: ExitCode(69)
    case .protocolViolation: ExitCode(76)
    }
  }
}

/// Reports an error on stderr.
func report(_ error: APIError) { StandardError.complain(error.description) }
