import APIModel
import ArgumentParser
import CommandLineSupport
import JSONCodec

/// How documents are printed. `vmpool` itself does not have these options: it would take them from its subcommands.
struct OutputOptions: ParsableArguments {
  @Flag(help: "Print documents as JSON; the same as --format json.")
  var json = false

  @Option(help: OutputFormat.help, completion: .list(["table", "json", "{{.id}}"]))
  var format: OutputFormat?

  func validate() throws {
    if json, format != nil, format != .json { throw ValidationError("Give either --json or --format.") }
  }

  /// Whether documents are printed as JSON.
  var isJSON: Bool { json || format == .json }

  /// The document as it is to be printed: as JSON, by the template, or as `table` makes it.
  func text<Document: Encodable>(_ document: Document, _ table: (Document) -> String) throws -> String {
    if isJSON { return try json(document) }
    if case .template = format { return try json(document) }
    return table(document)
  }

  /// The document as JSON, or by the template.
  func json(_ document: some Encodable) throws -> String {
    if case .template(let template) = format { return try template.text(of: AnyJSON(encoding: document)) }
    return String(decoding: try JSON.encodePretty(document), as: UTF8.self)
  }

  /// Prints the document.
  func show<Document: Encodable>(_ document: Document, _ table: (Document) -> String) throws {
    try StandardOutput.print(text(document, table))
  }
}

/// What lists, and commands that make one thing, print beside documents.
struct QuietOptions: ParsableArguments {
  @Flag(name: .shortAndLong, help: "Print only names or ids, one a line.")
  var quiet = false
}

/// Whether a list is shown again and again.
struct WatchOptions: ParsableArguments {
  @Flag(name: .shortAndLong, help: "Show it again and again, until interrupted.")
  var watch = false

  @Option(help: ArgumentHelp("How often --watch asks the server, \(DurationArgument.form).", valueName: "duration"))
  var interval = DurationArgument.seconds(2)

  func validate() throws {
    guard 100...3_600_000 ~= interval.milliseconds else { throw ValidationError("--interval is 100ms to 1h.") }
  }
}

/// What every list takes.
struct ListOptions: ParsableArguments {
  @OptionGroup var output: OutputOptions
  @OptionGroup var quiet: QuietOptions
  @OptionGroup var watching: WatchOptions
}

/// A document that has a name or an id, which `-q` prints.
protocol Identified: Codable, Sendable {
  var identity: String { get }
}

extension VMDocument: Identified { var identity: String { id } }
extension PoolDocument: Identified { var identity: String { name } }
extension LeaseDocument: Identified { var identity: String { lease } }
extension ImageDocument: Identified { var identity: String { name } }
extension BlobDocument: Identified { var identity: String { digest } }
extension KeyDocument: Identified { var identity: String { id } }
extension AuditEntryDocument: Identified { var identity: String { "\(id)" } }
extension VCPUDocument: Identified { var identity: String { "\(index)" } }
