import APIClient
import ArgumentParser

/// The server, and how long to wait for it. `vmpool` itself has these options, too: they may stand before a subcommand.
struct ServerOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The server: http://host:port, https://host:port, host:port or unix:/path. Without it, `vmpool help context` says which.",
      valueName: "endpoint"),
    completion: .list(["http://127.0.0.1:8080", "unix:/run/vmpool/vmpoold.sock"]))
  var server: String?

  @Option(
    help: ArgumentHelp("The server by the name that `vmpool context set` gave it.", valueName: "name"),
    completion: Completions.contexts)
  var context: String?

  @OptionGroup var files: TLSOptions

  @Option(help: ArgumentHelp("How long to wait for an answer, \(DurationArgument.form).", valueName: "duration"))
  var timeout = DurationArgument.seconds(30)

  func validate() throws {
    guard 1...3_600_000 ~= timeout.milliseconds else { throw ValidationError("--timeout is more than 0, at most 1h.") }
    if server != nil, context != nil { throw ValidationError("Give either --server or --context.") }
    // The environment and the file are read only when a server is spoken to.
    if let server { _ = try Self.endpoint(server, from: "--server") }
  }

  func client() throws -> VMPoolClient {
    let (endpoint, files) = try target()
    return try VMPoolClient(endpoint: endpoint, files: self.files.over(files), timeout: timeout.duration)
  }

  /// The server, and the files that its context names.
  private func target() throws -> (Endpoint, TLSFiles) {
    if let server { return (try Self.endpoint(server, from: "--server"), TLSFiles()) }
    if let context { return try Self.target(ofContext: context) }
    if let text = environment("VMPOOL_SERVER") { return (try Self.endpoint(text, from: "VMPOOL_SERVER"), TLSFiles()) }
    if let name = environment("VMPOOL_CONTEXT") { return try Self.target(ofContext: name) }
    if let name = try ContextFile.read().current { return try Self.target(ofContext: name) }
    return (.tcp(host: "127.0.0.1", port: 8080), TLSFiles())
  }

  private static func target(ofContext name: String) throws -> (Endpoint, TLSFiles) {
    let file = try ContextFile.read()
    guard let context = file.contexts[name] else { throw unknownContext(name, in: file) }
    return (try endpoint(context.server, from: "the context \(name)"), context.files)
  }

  private static func endpoint(_ text: String, from place: String) throws -> Endpoint {
    do {
      return try Endpoint(text)
    } catch {
      throw ValidationError("\(place): \(error).")
    }
  }
}
