import APIClient
import ArgumentParser
import CommandLineSupport

struct ContextCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "context", abstract: "Give servers names, and choose the one that commands speak to.",
    discussion: """
      Names stand in ~/.config/vmpool/config.json, or where $VMPOOL_CONFIG says. The server of a command is that of \
      --server, else --context, else $VMPOOL_SERVER, else $VMPOOL_CONTEXT, else the context in use, else \
      http://127.0.0.1:8080.

      A server that is reached over a network asks for a key. The key of a command is that of --key-file, else of \
      --context, else $VMPOOL_KEY, else of the context whose server it speaks to. A context's key goes to no other server.
      """,
    subcommands: [List.self, Set.self, Use.self, Remove.self], defaultSubcommand: List.self)

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "list", abstract: "List the contexts; a star marks the one in use.", aliases: ["ls"])

    @OptionGroup var output: OutputOptions
    @OptionGroup var quiet: QuietOptions

    func run() throws {
      let file = try ContextFile.read()
      let items = file.contexts.sorted { $0.key < $1.key }.map {
        ContextDocument(name: $0.key, $0.value, isCurrent: $0.key == file.current)
      }
      try output.show(list: items, of: "contexts", quiet: quiet.quiet) { items in
        var table = Table([
          .init(""), .init("NAME"), .init("SERVER", mayShrink: true), .init("KEY", mayShrink: true),
        ])
        for item in items {
          table.add([
            item.current ? "*" : " ", item.name, item.server, item.keyFile ?? (item.hasKey ? "kept here" : ""),
          ])
        }
        return table
      }
    }
  }

  struct Set: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Give a server a name, or a name another server.",
      discussion: """
        The first context that is set is in use from then on. Its key is the one that is given here, or none. Keep the one \
        that was just made with: vmpool keys create ... | vmpool context set NAME ENDPOINT --key-stdin
        """)

    @Argument(help: "The context's name.", completion: Completions.contexts)
    var name: String

    @Argument(
      help: ArgumentHelp("The server: http://host:port, https://host:port or unix:/path.", valueName: "endpoint"))
    var server: String

    @OptionGroup var key: KeyFileOptions

    @Flag(help: "Read the key from stdin, and keep it in the file of contexts, which this user alone may read.")
    var keyStdin = false

    @OptionGroup var files: TLSOptions

    func validate() throws {
      if key.keyFile != nil, keyStdin { throw ValidationError("Give either --key-file or --key-stdin.") }
      if key.keyFile == "-" { throw ValidationError("Say --key-stdin for a key from stdin.") }
      if name.isEmpty || name.contains("/") || name.hasPrefix("-") {
        throw ValidationError("\(name.debugDescription) is no name for a context.")
      }
      do { _ = try Endpoint(server) } catch { throw ValidationError("\(error).") }
    }

    func run() throws {
      if let path = key.keyFile { _ = try ServerKey.inFile(path) }
      let context = ContextFile.Context(
        server: server, key: keyStdin ? try ServerKey.inFile("-") : nil, keyFile: key.keyFile.map(absolutePath),
        cacert: files.cacert.map(absolutePath), cert: files.cert.map(absolutePath),
        clientKey: files.clientKey.map(absolutePath))
      try ContextFile.change { file in
        file.contexts[name] = context
        if file.current == nil { file.current = name }
      }
    }
  }

  struct Use: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Choose the context that commands use from now on.")

    @Argument(help: "The context's name.", completion: Completions.contexts)
    var name: String

    func run() throws {
      try ContextFile.change { file in
        guard file.contexts[name] != nil else { throw unknownContext(name, in: file) }
        file.current = name
      }
    }
  }

  struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "rm", abstract: "Forget contexts.")

    @Argument(help: ArgumentHelp("The contexts' names.", valueName: "name"), completion: Completions.contexts)
    var names: [String]

    func run() throws {
      try ContextFile.change { file in
        for name in names {
          guard file.contexts.removeValue(forKey: name) != nil else { throw unknownContext(name, in: file) }
          if file.current == name { file.current = nil }
        }
      }
    }
  }
}

/// What `vmpool context ls` shows of a context.
private struct ContextDocument: Identified {
  var name: String
  var server: String
  var current: Bool
  var hasKey: Bool
  var keyFile: String?

  enum CodingKeys: String, CodingKey {
    case name, server, current
    case hasKey = "has_key"
    case keyFile = "key_file"
  }

  init(name: String, _ context: ContextFile.Context, isCurrent: Bool) {
    self.name = name
    (server, keyFile) = (context.server, context.keyFile)
    current = isCurrent
    hasKey = context.key != nil || context.keyFile != nil
  }

  var identity: String { name }
}

/// Reports that there is no such context; exit status 2.
func unknownContext(_ name: String, in file: ContextFile) -> ExitCode {
  let near = nearest(to: name, in: file.contexts.keys).map { "; did you mean \($0)?" }
  StandardError.complain("there is no context \(name)" + (near ?? "; `vmpool context ls` lists them"))
  return ExitCode(2)
}
