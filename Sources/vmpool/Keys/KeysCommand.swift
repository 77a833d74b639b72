import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport

struct KeysCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "keys", abstract: "Make keys for the server's users, list them, and revoke them.",
    discussion: """
      From the first key on, the server asks every client for one. `vmpool help context` says where a command's key comes \
      from. `vmpoold create-key` makes the first key while no server runs.
      """,
    subcommands: [Create.self, List.self, Inspect.self, Revoke.self], defaultSubcommand: List.self)

  struct Create: ServerCommand {
    static let configuration = CommandConfiguration(
      commandName: "create", abstract: "Make a key, and print it.",
      discussion: """
        The key alone stands on stdout, and its id on stderr: vmpool keys create ... >FILE keeps it, after umask 077. It is \
        shown this once: the server keeps a hash of it.
        """)

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions

    @Flag(name: .shortAndLong, help: "Print the key only, and nothing on stderr.")
    var quiet = false

    @OptionGroup var options: KeyGrantOptions

    func run(_ client: VMPoolClient) throws {
      let (grant, limits) = (options.grant, options.grant.limits)
      let made = try client.createKey(
        CreateKeyDocument(
          tenant: grant.tenant.name, scopes: grant.scopes.all.map(\.rawValue), pools: grant.pools?.sorted(),
          ttlMS: options.ttlMS, note: grant.note, rate: limits.rate, burst: limits.burst,
          concurrency: limits.concurrency))
      guard let key = made.key else {
        throw Failure("the server made \(made.id) and does not say its text", status: 76)
      }
      try output.show(made) { _ in key }
      if !quiet { StandardError.complain("\(made.id) is made; its text is shown this once") }
    }
  }

  struct List: ListCommand {
    static let configuration = CommandConfiguration(
      commandName: "list", abstract: "List the keys, also those that have ended.", aliases: ["ls"])
    static let noun = "keys"

    @OptionGroup var server: ServerOptions
    @OptionGroup var list: ListOptions
    @OptionGroup var of: TenantOption

    func items(_ client: VMPoolClient) throws -> [KeyDocument] { try client.keys(tenant: of.tenant) }

    func table(_ keys: [KeyDocument]) -> Table { KeysCommand.table(keys) }
  }

  struct Inspect: DocumentCommand {
    static let configuration = CommandConfiguration(
      commandName: "inspect", abstract: "Show one key, but for its text.", aliases: ["show", "get"])

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: KeysCommand.argument, completion: Completions.keys)
    var key: String

    func run(_ client: VMPoolClient) throws { try show(client.key(client.keyReference(key)), details) }
  }

  struct Revoke: ServerCommand {
    static let configuration = CommandConfiguration(
      commandName: "revoke", abstract: "End keys at once, with the requests and streams that are under way.",
      aliases: ["rm", "delete"])

    @OptionGroup var server: ServerOptions

    @Argument(
      help: ArgumentHelp("The keys' ids, or unique beginnings of them.", valueName: "key"), completion: Completions.keys
    )
    var keys: [String]

    func run(_ client: VMPoolClient) throws {
      let failure = try forEach(keys, client) { text in try client.revokeKey(client.keyReference(text)) }
      if let failure { throw failure }
    }
  }

  private static let argument = ArgumentHelp("The key's id, or a unique beginning of it.", valueName: "key")

  private static func table(_ keys: [KeyDocument]) -> Table {
    var table = Table([
      .init("KEY"), .init("TENANT", mayShrink: true), .init("SCOPES", mayShrink: true), .init("POOLS", mayShrink: true),
      .init("STATE", alignment: .right), .init("USED", alignment: .right), .init("NOTE", mayShrink: true),
    ])
    for key in keys {
      table.add([
        key.id, key.tenant, key.scopes.joined(separator: ","), key.pools?.joined(separator: ",") ?? "all", state(key),
        key.lastUsedAt.map { Age.since($0) } ?? "never", key.note,
      ])
    }
    return table
  }

  /// Whether and until when the key holds.
  private static func state(_ key: KeyDocument) -> String {
    if key.revokedAt != nil { return "revoked" }
    guard let expiresAt = key.expiresAt else { return "holds" }
    return Age.isPast(expiresAt) ? "expired" : Age.until(expiresAt)
  }

  /// Every member of a key, one a line.
  private static func details(_ key: KeyDocument) -> String {
    let ago = { (text: String?) in text.map { "\($0) (\(Age.since($0)) ago)" } }
    return properties([
      ("key", key.id), ("tenant", key.tenant), ("scopes", key.scopes.joined(separator: ", ")),
      ("pools", key.pools?.joined(separator: ", ") ?? "all that its tenant may use"),
      ("note", key.note.isEmpty ? "none" : key.note),
      ("state", state(key)), ("created", ago(key.createdAt) ?? ""), ("expires", key.expiresAt ?? "never"),
      ("revoked", ago(key.revokedAt) ?? "no"), ("last used", ago(key.lastUsedAt) ?? "never"),
      ("requests a second", key.rate.map { "\($0), \(key.burst ?? $0) at once" } ?? "not limited"),
      ("requests at a time", key.concurrency.map { "\($0)" } ?? "not limited"),
    ])
  }
}
