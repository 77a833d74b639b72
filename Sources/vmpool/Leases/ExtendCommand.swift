import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport

struct ExtendCommand: DocumentCommand {
  static let configuration = CommandConfiguration(
    commandName: "extend", abstract: "Let a lease last longer: a heartbeat.",
    discussion: "Ends with 2 when the lease has ended; stderr says how.")

  @OptionGroup var server: ServerOptions
  @OptionGroup var output: OutputOptions
  @OptionGroup var quiet: QuietOptions

  @Argument(help: LeasesCommand.argument, completion: Completions.leases)
  var lease: String

  @Option(
    help: ArgumentHelp(
      "How long it lasts from now at least, \(DurationArgument.form). 60s when absent.", valueName: "duration"))
  var ttl: DurationArgument?

  @Flag(help: "Let the lease end earlier than it would have, where --ttl says so.")
  var shorten = false

  func run(_ client: VMPoolClient) throws {
    let document = try client.extendLease(
      client.leaseReference(lease), ttlMS: ttl?.milliseconds, shorten: shorten ? true : nil)
    try output.show(document, quiet: quiet.quiet, LeasesCommand.table)
  }
}
