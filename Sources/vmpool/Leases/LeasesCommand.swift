import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport

struct LeasesCommand: DocumentCommand {
  static let configuration = CommandConfiguration(
    commandName: "leases", abstract: "List the leases there are, the oldest first, or show one.")

  @OptionGroup var server: ServerOptions
  @OptionGroup var output: OutputOptions

  @Argument(help: "The lease to show; all when absent.")
  var lease: String?

  @Option(help: "Only leases of this pool's VMs.")
  var pool: String?

  func validate() throws {
    if lease != nil && pool != nil { throw ValidationError("Give either a lease or --pool.") }
  }

  func run(_ client: VMPoolClient) throws {
    if let lease {
      try show(client.lease(lease)) { Self.table([$0]).text }
    } else {
      try show(list: client.leases(pool: pool), of: "leases", Self.table)
    }
  }

  static func table(_ leases: [LeaseDocument]) -> Table {
    var table = Table([
      .init("LEASE"), .init("POOL"), .init("VM"), .init("FENCE", .right), .init("EXPIRES"), .init("LABELS"),
    ])
    for lease in leases {
      let labels = lease.labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
      table.add([
        lease.lease, lease.pool, lease.vm, "\(lease.fence)", lease.expiresAt, labels.joined(separator: " "),
      ])
    }
    return table
  }
}
