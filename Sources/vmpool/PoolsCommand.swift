import APIClient
import APIModel
import ArgumentParser

struct PoolsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pools", abstract: "Declare and look at pools: VMs that are kept ready.",
    subcommands: [List.self, Show.self, Set.self, Delete.self], defaultSubcommand: List.self)

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

    func run(_ client: VMPoolClient) throws {
      try show(client.pool(name)) { pool in
        table([pool]).text + (pool.status.refill.lastError.map { "\nlast error: \(printable($0))" } ?? "")
      }
    }
  }

  struct Set: DocumentCommand {
    static let configuration = CommandConfiguration(abstract: "Declare a pool, or declare it anew.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "The pool's name: a to z, 0 to 9 and -, beginning with a letter.")
    var name: String

    @Option(help: "The image of its VMs.")
    var image: String

    @Option(help: "How many VMs to keep ready.")
    var ready: Int

    @Option(help: "Virtual CPUs of each VM.")
    var vcpus = 1

    @Option(help: ArgumentHelp("Guest memory of each VM, in MiB.", valueName: "MiB"))
    var memory = 2

    func run(_ client: VMPoolClient) throws {
      let declaration = DeclarePoolDocument(image: image, vcpus: vcpus, memoryMiB: memory, ready: ReadyRange(ready))
      try show(client.putPool(name, declaration)) { table([$0]).text }
    }
  }

  struct Delete: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Delete pools with all their VMs, running or not.")

    @OptionGroup var server: ServerOptions

    @Argument(help: ArgumentHelp("The pools' names.", valueName: "name"))
    var names: [String]

    func run(_ client: VMPoolClient) throws {
      let failure = forEach(names) { name throws(APIError) in try client.deletePool(name) }
      if let failure { throw failure }
    }
  }

  /// `READY` tells how many there are of how many there should be.
  private static func table(_ pools: [PoolDocument]) -> Table {
    var table = Table([
      .init("NAME"), .init("IMAGE"), .init("VCPUS", .right), .init("MEMORY", .right), .init("READY", .right),
      .init("CREATING", .right), .init("RUNNING", .right), .init("PAUSED", .right), .init("STOPPED", .right),
    ])
    for pool in pools {
      let status = pool.status
      table.add([
        pool.name, pool.image, "\(pool.vcpus)", "\(pool.memoryMiB) MiB", "\(status.ready)/\(pool.ready.max)",
        "\(status.creating)", "\(status.running)", "\(status.paused)", "\(status.stopped)",
      ])
    }
    return table
  }
}
