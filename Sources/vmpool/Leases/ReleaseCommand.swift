import APIClient
import ArgumentParser

struct ReleaseCommand: ServerCommand {
  static let configuration = CommandConfiguration(
    commandName: "release", abstract: "Give leased VMs back.",
    discussion: "The server takes them apart and makes others. A lease that was released before is no mistake.")

  @OptionGroup var server: ServerOptions

  @Argument(help: ArgumentHelp("The leases' ids.", valueName: "lease"))
  var leases: [String]

  func run(_ client: VMPoolClient) throws {
    let failure = forEach(leases) { id throws(APIError) in try client.releaseLease(id) }
    if let failure { throw failure }
  }
}
