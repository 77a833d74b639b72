import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport
import JSONCodec

/// A command that speaks to a server. Its errors become lines on stderr and an exit status.
protocol ServerCommand: ParsableCommand {
  var server: ServerOptions { get }
  /// The pools and images that the command line names, for "did you mean".
  var mentioned: [Mention] { get }

  func run(_ client: VMPoolClient) throws
  /// What is said of an error, in the words of this command's options.
  func advice(_ error: APIError) -> String
}

/// A name on the command line, by the kind of its resource.
enum Mention: Equatable {
  case pool(String)
  case image(String)
}

extension ServerCommand {
  var mentioned: [Mention] { [] }

  func advice(_ error: APIError) -> String { Advice.text(error) }

  func run() throws {
    let client = try server.client()
    do {
      try run(client)
    } catch let error {
      throw try exitCode(reporting: error, client)
    }
  }

  /// Acts on each name in turn, reports failures and goes on. Returns the first failure's exit status.
  ///
  /// A server that cannot be reached ends it: the other names would only wait for the same.
  func forEach(_ names: [String], _ client: VMPoolClient, _ action: (String) throws -> Void) throws -> ExitCode? {
    var failure: ExitCode?
    for name in names {
      do {
        try action(name)
      } catch let error {
        let status = try exitCode(reporting: error, client)
        failure = failure ?? status
        switch error {
        case APIError.unreachable, APIError.untrusted: return failure
        default: break
        }
      }
    }
    return failure
  }

  /// Reports an ``APIError`` or a ``Failure``, and returns the exit status for it. Throws any other error on.
  func exitCode(reporting error: any Error, _ client: VMPoolClient) throws -> ExitCode {
    switch error {
    case let error as APIError:
      StandardError.complain(advice(error) + (suggestion(for: error, client) ?? ""))
      return error.exitCode
    case let failure as Failure:
      StandardError.complain(failure.message)
      return failure.status
    default: throw error
    }
  }

  /// The pool or image that a misspelt name most likely means.
  private func suggestion(for error: APIError, _ client: VMPoolClient) -> String? {
    guard case .problem(let problem) = error else { return nil }
    let names: [(given: String, there: [String])] = mentioned.compactMap { mention in
      switch mention {
      case .pool(let name):
        guard problem.type == "/problems/pool-not-found", let pools = try? client.pools() else { return nil }
        return (name, pools.map(\.name))
      case .image(let name):
        guard problem.type == "/problems/image-not-found" || problem.pointer == "/image",
          let images = try? client.images()
        else { return nil }
        return (name, images.map(\.name))
      }
    }
    let near = names.filter { !$0.there.contains($0.given) }.compactMap { nearest(to: $0.given, in: $0.there) }
    return near.isEmpty ? nil : " Did you mean \(near.joined(separator: ", "))?"
  }
}

extension APIError {
  /// The exit status of a program that ends with this error; `vmpool --help` lists them.
  var exitCode: ExitCode {
    switch self {
    case .problem(let problem):
      switch problem.status {
      // 410: it was there, and has ended.
      case 404, 410: ExitCode(2)
      case 401: ExitCode(77)
      case 403 where problem.type == "/problems/scope-missing": ExitCode(77)
      case 429: ExitCode(75)
      default: ExitCode(1)
      }
    case .unreachable, .untrusted: ExitCode(69)
    case .foreign, .protocolViolation: ExitCode(76)
    }
  }
}

/// A command that prints documents of the server.
protocol DocumentCommand: ServerCommand {
  var output: OutputOptions { get }
}

extension DocumentCommand {
  /// Prints the document as the options say; `text` makes the text for people.
  func show<Document: Encodable>(_ document: Document, _ text: (Document) -> String) throws {
    try output.show(document, text)
  }
}

/// A command that lists documents.
protocol ListCommand: DocumentCommand {
  associatedtype Item: Identified

  /// The name of what it lists, for `no VMs`.
  static var noun: String { get }
  var list: ListOptions { get }

  func items(_ client: VMPoolClient) throws -> [Item]
  func table(_ items: [Item]) -> Table
}

extension ListCommand {
  var output: OutputOptions { list.output }

  func run(_ client: VMPoolClient) throws {
    guard list.watching.watch else {
      return try output.show(list: items(client), of: Self.noun, quiet: list.quiet.quiet, table)
    }
    try LiveScreen(interval: list.watching.interval).run { width in
      try output.text(list: items(client), of: Self.noun, quiet: list.quiet.quiet, width: width, table)
    }
  }
}

extension OutputOptions {
  /// Prints one document that has an identity: only that with `quiet`, else as the options say.
  func show<Item: Identified>(_ item: Item, quiet: Bool, _ table: ([Item]) -> Table) throws {
    if quiet { return try StandardOutput.print(printable(item.identity)) }
    try show(item) { table([$0]).text(width: StandardOutput.width) }
  }

  /// Prints a list: as a page of JSON, by the template, or as a table. Says on stderr when it is empty.
  func show<Item: Identified>(
    list items: [Item], of noun: String, quiet: Bool = false, _ table: ([Item]) -> Table
  ) throws {
    if items.isEmpty && !isJSON {
      if !quiet { StandardError.complain("no \(noun)") }
      return
    }
    try StandardOutput.print(text(list: items, of: noun, quiet: quiet, width: StandardOutput.width, table))
  }

  /// A list as ``show(list:of:quiet:_:)`` prints it, its table in lines of at most `width` characters.
  func text<Item: Identified>(
    list items: [Item], of noun: String, quiet: Bool, width: Int?, _ table: ([Item]) -> Table
  ) throws -> String {
    if quiet { return items.map { printable($0.identity) }.joined(separator: "\n") }
    if isJSON { return try text(Page(items: items, nextPageToken: nil)) { _ in "" } }
    if case .template = format { return try items.map { try text($0) { _ in "" } }.joined(separator: "\n") }
    return items.isEmpty ? "no \(noun)" : table(items).text(width: width)
  }
}
