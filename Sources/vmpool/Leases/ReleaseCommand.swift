import APIClient
import ArgumentParser

struct ReleaseCommand: ServerCommand {
  static let configuration = CommandConfiguration(
    commandName: "release", abstract: "Give leased VMs back.",
    discussion: "The server takes the VMs apart and makes others. A lease that was released before is no mistake.")

  @OptionGroup var server: ServerOptions

  @Argument(help: LeasesCommand.arguments, completion: Completions.leases)
  var leases: [String]

  func run(_ client: VMPoolClient) throws {
    let failure = try forEach(leases, client) { try client.releaseLease(client.leaseReference($0)) }
    if let failure { throw failure }
  }
}
