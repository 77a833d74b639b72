import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport

struct PoolsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pools", abstract: "Declare and show pools: VMs that are kept ready.",
    subcommands: [
      List.self, Show.self, Set.self, Patch.self, Edit.self, Apply.self, Delete.self,
    ], defaultSubcommand: List.self)

  struct List: ListCommand {
    static let configuration = CommandConfiguration(
      commandName: "list", abstract: "List the pools.", aliases: ["ls"])
    static let noun = "pools"

    @OptionGroup var server: ServerOptions
    @OptionGroup var list: ListOptions
    @OptionGroup var of: TenantOption

    func items(_ client: VMPoolClient) throws -> [PoolDocument] { try client.pools(tenant: of.tenant) }

    func table(_ pools: [PoolDocument]) -> Table { PoolsCommand.table(pools) }
  }

  struct Show: DocumentCommand {
    static let configuration = CommandConfiguration(
      commandName: "show", abstract: "Show one pool.",
      discussion: """
        With --yaml it is the pool's declaration, as `vmpool pools apply` and the server's configuration file take it. \
        With --json it is the server's document, which `vmpool pools set --file` takes.
        """, aliases: ["get"])

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var of: TenantOption

    @Flag(help: "Print the pool's declaration as a configuration file.")
    var yaml = false

    @Argument(help: "The pool's name.", completion: Completions.pools)
    var name: String

    func validate() throws {
      if yaml && (output.json || output.format != nil) { throw ValidationError("Give either --yaml or --format.") }
    }

    var mentioned: [Mention] { [.pool(name)] }

    func run(_ client: VMPoolClient) throws {
      let pool = try client.pool(name, tenant: of.tenant)
      if yaml { return try StandardOutput.print(PoolSettings(pool).yaml(name: name)) }
      try show(pool, details)
    }
  }

  struct Delete: ServerCommand {
    static let configuration = CommandConfiguration(
      commandName: "rm", abstract: "Delete pools with all their VMs, running or not.",
      discussion: "VMs under a lease stay until it ends, and their pool with them, unless --force is given.",
      aliases: ["delete"])

    @OptionGroup var server: ServerOptions

    @Argument(help: ArgumentHelp("The pools' names.", valueName: "name"), completion: Completions.pools)
    var names: [String]

    @Flag(name: .shortAndLong, help: "End their leases, too.")
    var force = false

    var mentioned: [Mention] { names.map { .pool($0) } }

    func run(_ client: VMPoolClient) throws {
      let failure = try forEach(names, client) { name in
        if let rest = try client.deletePool(name, force: force) { reportLeases(of: rest) }
      }
      if let failure { throw failure }
    }
  }

  /// Says on stderr that the pool goes only when its leases have ended.
  static func reportLeases(of pool: PoolDocument) {
    StandardError.complain("\(pool.name) goes when its leases have ended: there are \(pool.status.leased)")
  }

  /// One line for each pool. `READY` says how many VMs are ready, and how many should be.
  static func table(_ pools: [PoolDocument]) -> Table {
    var table = Table([
      .init("NAME", mayShrink: true), .init("IMAGE", mayShrink: true), .init("VCPUS", alignment: .right),
      .init("MEMORY", alignment: .right),
      .init("READY", alignment: .right), .init("LEASED", alignment: .right), .init("WAITING", alignment: .right),
      .init("REFILL"),
    ])
    for pool in pools {
      let status = pool.status
      table.add([
        pool.name, pool.image, "\(pool.vcpus)", "\(pool.memoryMiB) MiB", "\(status.ready)/\(pool.ready.max)",
        "\(status.leased)", "\(status.waiting)", status.draining ? "draining" : status.refill.state,
      ])
    }
    return table
  }

  /// Every member of a pool, one a line.
  private static func details(_ pool: PoolDocument) -> String {
    let (status, refill) = (pool.status, pool.status.refill)
    let declaration = PoolSettings(pool).members.map { (name: $0.name, value: $0.value) }
    let standing: [(name: String, value: String)] = [
      ("source", pool.source), ("draining", status.draining ? "yes" : "no"),
      ("ready now", "\(status.ready)" + (status.outdated > 0 ? ", \(status.outdated) of them outdated" : "")),
      ("leased", "\(status.leased)"), ("waiting", "\(status.waiting)"), ("creating", "\(status.creating)"),
      ("resetting", "\(status.resetting)"), ("retiring", "\(status.retiring)"),
      ("quarantined", "\(status.quarantined)"),
      ("running", "\(status.running)"), ("paused VMs", "\(status.paused)"), ("stopped", "\(status.stopped)"),
      ("refill state", refill.state), ("failures", "\(refill.failures)"),
      (
        "template",
        status.template.state + (status.template.bootMS.map { ", booted in \($0) ms" } ?? "")
          + (status.template.memoryBytes.map { ", \($0 >> 20) MiB" } ?? "")
      ),
    ]
    let trouble = [
      ("last error", refill.lastError), ("last failed", refill.lastFailedAt.map { Age.since($0) + " ago" }),
      ("next attempt", refill.nextAttemptAt.map { "in " + Age.until($0) }),
    ].compactMap { pair in pair.1.map { (name: pair.0, value: $0) } }
    let warnings = pool.warnings.map { (name: "warning", value: $0) }
    return properties([(name: "name", value: pool.name)] + declaration + standing + trouble + warnings)
  }
}
