import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport

struct LeasesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "leases", abstract: "List the leases, or show one.",
    subcommands: [List.self, Show.self, ReleaseCommand.self], defaultSubcommand: List.self)

  struct List: ListCommand {
    static let configuration = CommandConfiguration(
      commandName: "list", abstract: "List the leases, the oldest first.", aliases: ["ls"])
    static let noun = "leases"

    @OptionGroup var server: ServerOptions
    @OptionGroup var list: ListOptions
    @OptionGroup var of: TenantOption

    @Option(help: "Only leases of this pool's VMs.", completion: Completions.pools)
    var pool: String?

    func items(_ client: VMPoolClient) throws -> [LeaseDocument] {
      try client.leases(pool: pool, tenant: of.tenant)
    }

    func table(_ leases: [LeaseDocument]) -> Table { LeasesCommand.table(leases) }
  }

  struct Show: DocumentCommand {
    static let configuration = CommandConfiguration(
      commandName: "show", abstract: "Show one lease.", aliases: ["get"])

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: LeasesCommand.argument, completion: Completions.leases)
    var lease: String

    func run(_ client: VMPoolClient) throws {
      try show(client.lease(client.leaseReference(lease)), details)
    }
  }

  /// What help texts say of an argument that names a lease.
  static let argument = ArgumentHelp("The lease's id, or a unique beginning of it.", valueName: "lease")
  static let arguments = ArgumentHelp("The leases' ids, or unique beginnings of them.", valueName: "lease")

  static func table(_ leases: [LeaseDocument]) -> Table {
    var table = Table([
      .init("LEASE"), .init("POOL", mayShrink: true), .init("VM"), .init("FENCE", alignment: .right),
      .init("EXPIRES", alignment: .right),
      .init("LABELS", mayShrink: true),
    ])
    for lease in leases {
      table.add([
        lease.lease, lease.pool, lease.vm, "\(lease.fence)", Age.until(lease.expiresAt), labels(lease),
      ])
    }
    return table
  }

  /// Every member of a lease, one a line.
  static func details(_ lease: LeaseDocument) -> String {
    properties([
      ("lease", lease.lease), ("pool", lease.pool), ("vm", lease.vm), ("fence", "\(lease.fence)"),
      ("labels", lease.labels.isEmpty ? "none" : labels(lease)),
      ("granted", "\(lease.grantedAt) (\(Age.since(lease.grantedAt)) ago)"),
      ("expires", "\(lease.expiresAt) (in \(Age.until(lease.expiresAt)))"),
      ("at the latest", "\(lease.maxExpiresAt) (in \(Age.until(lease.maxExpiresAt)))"),
    ])
  }

  private static func labels(_ lease: LeaseDocument) -> String {
    lease.labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
  }
}
