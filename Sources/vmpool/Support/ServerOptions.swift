import APIClient
import ArgumentParser
import CommandLineSupport

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

  @OptionGroup var key: KeyFileOptions
  @OptionGroup var files: TLSOptions

  @Option(help: ArgumentHelp("How long to wait for an answer, \(DurationArgument.form).", valueName: "duration"))
  var timeout = DurationArgument.seconds(30)

  func validate() throws {
    guard 1...3_600_000 ~= timeout.milliseconds else { throw ValidationError("--timeout is more than 0, at most 1h.") }
    if server != nil, context != nil { throw ValidationError("Give either --server or --context.") }
    // The environment and the file are read only when a server is spoken to.
    if let server { _ = try Self.endpoint(server, from: "--server") }
  }

  /// A client of the server. It presents the key of --key-file, else that of --context, else $VMPOOL_KEY, else that of the
  /// context whose server it is: a context's key goes to no other server.
  func client() throws -> VMPoolClient {
    let (endpoint, context) = try target()
    return try VMPoolClient(
      endpoint: endpoint, key: key(of: context), files: files.over(context?.value.files ?? TLSFiles()),
      timeout: timeout.duration)
  }

  private func key(of context: (name: String, value: ContextFile.Context)?) throws -> String? {
    if let keyFile = key.keyFile { return try ServerKey.inFile(keyFile) }
    let ofContext = { try context.flatMap { try $0.value.readKey(ofContext: $0.name) } }
    if self.context != nil, let key = try ofContext() { return key }
    if let text = environment("VMPOOL_KEY") { return try ServerKey.checked(text, from: "VMPOOL_KEY") }
    return try ofContext()
  }

  /// The server, and the context that names it, if one does.
  private func target() throws -> (Endpoint, (name: String, value: ContextFile.Context)?) {
    if let server { return (try Self.endpoint(server, from: "--server"), nil) }
    if context == nil, let text = environment("VMPOOL_SERVER") {
      return (try Self.endpoint(text, from: "VMPOOL_SERVER"), nil)
    }
    let chosen = context ?? environment("VMPOOL_CONTEXT")
    let file = try ContextFile.read()
    guard let name = chosen ?? file.current else { return (.tcp(host: "127.0.0.1", port: 8080), nil) }
    guard let context = file.contexts[name] else { throw unknownContext(name, in: file) }
    return (try Self.endpoint(context.server, from: "the context \(name)"), (name, context))
  }

  private static func endpoint(_ text: String, from place: String) throws -> Endpoint {
    do {
      return try Endpoint(text)
    } catch {
      throw ValidationError("\(place): \(error).")
    }
  }
}

/// The file of a key. A group of its own, which `context set` has as well: the parser gives groups to commands and subcommands.
struct KeyFileOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "A file with the key to present, which other users may not read; - is stdin. `vmpool help context` says what else may.",
      valueName: "file"),
    completion: .file())
  var keyFile: String?
}
