import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport

struct BlobsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "blobs", abstract: "Show the bytes that images are made of, and delete those that none uses.",
    subcommands: [List.self, Delete.self, Prune.self], defaultSubcommand: List.self)

  struct List: ListCommand {
    static let configuration = CommandConfiguration(
      commandName: "list", abstract: "List the blobs, by digest.", aliases: ["ls"])
    static let noun = "blobs"

    @OptionGroup var server: ServerOptions
    @OptionGroup var list: ListOptions

    func items(_ client: VMPoolClient) throws -> [BlobDocument] { try client.blobs() }

    func table(_ blobs: [BlobDocument]) -> Table { BlobsCommand.table(blobs) }
  }

  struct Delete: ServerCommand {
    static let configuration = CommandConfiguration(
      commandName: "rm", abstract: "Delete blobs that no image uses.", aliases: ["delete"])

    @OptionGroup var server: ServerOptions

    @Argument(
      help: ArgumentHelp("The digests, or unique beginnings of them.", valueName: "digest"),
      completion: Completions.blobs)
    var digests: [String]

    func run(_ client: VMPoolClient) throws {
      let failure = try forEach(digests, client) { text in
        try client.deleteBlob(BlobsCommand.digest(text, client))
      }
      if let failure { throw failure }
    }
  }

  struct Prune: ServerCommand {
    static let configuration = CommandConfiguration(
      commandName: "prune", abstract: "Delete every blob that no image uses.",
      discussion: """
        Shows them first, and asks. With --partial uploads that were interrupted go, too; the server keeps those for a \
        day to go on with.
        """)

    @OptionGroup var server: ServerOptions

    @Flag(help: "Delete interrupted uploads, too.")
    var partial = false

    @Flag(help: "Show what would be deleted, and delete nothing.")
    var dryRun = false

    @Flag(name: .shortAndLong, help: "Do not ask.")
    var yes = false

    func run(_ client: VMPoolClient) throws {
      let unused = try client.blobs().filter { $0.images.isEmpty && (partial || $0.state != "partial") }
      if unused.isEmpty { return StandardError.complain("every blob is used by an image") }
      try StandardOutput.print(BlobsCommand.table(unused).text(width: StandardOutput.width))
      if dryRun { return }
      if !yes {
        guard isTerminal else { throw ValidationError("There is no terminal to ask on; give --yes or --dry-run.") }
        guard confirms("Delete them?") else {
          StandardError.complain("nothing was deleted")
          throw ExitCode(1)
        }
      }
      try delete(unused, client)
    }

    private func delete(_ blobs: [BlobDocument], _ client: VMPoolClient) throws {
      var (count, bytes) = (0, 0)
      let sizes = Dictionary(blobs.map { ($0.digest, $0.sizeBytes) }) { first, _ in first }
      let failure = try forEach(blobs.map(\.digest), client) { digest in
        do {
          try client.deleteBlob(digest)
          (count, bytes) = (count + 1, bytes + (sizes[digest] ?? 0))
        } catch APIError.problem(let problem)
          where ["/problems/blob-in-use", "/problems/blob-not-found"].contains(problem.type)
        {
          // An image came to use it since it was listed, or another client deleted it.
        }
      }
      StandardError.complain("deleted \(count) blobs, \(humanised(bytes: UInt64(bytes)))")
      if let failure { throw failure }
    }
  }

  static func table(_ blobs: [BlobDocument]) -> Table {
    var table = Table([
      .init("DIGEST"), .init("SIZE", alignment: .right), .init("STATE"), .init("IMAGES", mayShrink: true),
    ])
    for blob in blobs {
      table.add([
        shortened(blob.digest), humanised(bytes: UInt64(blob.sizeBytes)), blob.state,
        blob.images.joined(separator: " "),
      ])
    }
    return table
  }

  /// The digest's first twelve hex digits, which `vmpool blobs rm` takes.
  private static func shortened(_ digest: String) -> String {
    String(digest.prefix { $0 != ":" }) + ":" + digest.drop { $0 != ":" }.dropFirst().prefix(12)
  }

  /// The digest that a text is, or the one that begins with it.
  private static func digest(_ text: String, _ client: VMPoolClient) throws -> String {
    try checkBeginning(text, of: ["sha256:"])
    let wanted = text.hasPrefix("sha256:") ? text : "sha256:" + text
    if wanted.utf8.count == "sha256:".utf8.count + 64 { return wanted }
    let found = try client.blobs().map(\.digest).filter { $0.hasPrefix(wanted) }
    if found.count == 1 { return found[0] }
    if found.isEmpty { throw Failure("There is no blob \(text); `vmpool blobs` lists them.", status: 2) }
    throw Failure("\(text) is the beginning of \(found.count) digests; give more of it.", status: 64)
  }
}
