import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport

struct PoolsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pools", abstract: "Declare and look at pools: VMs that are kept ready.",
    subcommands: [List.self, Show.self, Set.self, Patch.self, Apply.self, Delete.self], defaultSubcommand: List.self)

  struct List: DocumentCommand {
    static let configuration = CommandConfiguration(abstract: "List the pools.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions

    func run(_ client: VMPoolClient) throws { try show(list: client.pools(), of: "pools", table) }
  }

  struct Show: DocumentCommand {
    static let configuration = CommandConfiguration(abstract: "Show one pool.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "The pool's name.")
    var name: String

    func run(_ client: VMPoolClient) throws { try show(client.pool(name), details) }
  }

  struct Delete: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Delete pools with all their VMs, running or not.",
      discussion: "VMs under a lease stay until it ends, and their pool with them, unless --force is given.")

    @OptionGroup var server: ServerOptions

    @Argument(help: ArgumentHelp("The pools' names.", valueName: "name"))
    var names: [String]

    @Flag(help: "End their leases, too.")
    var force = false

    func run(_ client: VMPoolClient) throws {
      let failure = forEach(names) { name throws(APIError) in
        if let rest = try client.deletePool(name, force: force) { tellOfLeases(rest) }
      }
      if let failure { throw failure }
    }
  }

  /// What is left of a pool that is being deleted.
  static func tellOfLeases(_ pool: PoolDocument) {
    StandardError.complain("\(pool.name) goes when its leases have ended: there are \(pool.status.leased)")
  }

  /// `READY` tells how many there are of how many there should be.
  static func table(_ pools: [PoolDocument]) -> Table {
    var table = Table([
      .init("NAME"), .init("IMAGE"), .init("VCPUS", .right), .init("MEMORY", .right), .init("READY", .right),
      .init("LEASED", .right), .init("WAITING", .right), .init("REFILL"),
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

  /// Everything there is to know of a pool.
  private static func details(_ pool: PoolDocument) -> String {
    let (status, refill) = (pool.status, pool.status.refill)
    let declaration = PoolSettings(pool).members.map { (name: $0.name, value: $0.value) }
    let standing: [(name: String, value: String)] = [
      ("source", pool.source), ("draining", status.draining ? "yes" : "no"),
      ("ready now", "\(status.ready)" + (status.outdated > 0 ? ", \(status.outdated) of them outdated" : "")),
      ("leased", "\(status.leased)"), ("waiting", "\(status.waiting)"), ("creating", "\(status.creating)"),
      ("retiring", "\(status.retiring)"), ("quarantined", "\(status.quarantined)"),
      ("running", "\(status.running)"), ("paused VMs", "\(status.paused)"), ("stopped", "\(status.stopped)"),
      ("refill state", refill.state), ("failures", "\(refill.failures)"),
    ]
    let trouble = [
      ("last error", refill.lastError), ("last failed at", refill.lastFailedAt),
      ("next attempt at", refill.nextAttemptAt),
    ].compactMap { pair in pair.1.map { (name: pair.0, value: $0) } }
    return properties([(name: "name", value: pool.name)] + declaration + standing + trouble)
  }
}
