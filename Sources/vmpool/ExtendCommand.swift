import APIClient
import APIModel
import ArgumentParser

struct ExtendCommand: DocumentCommand {
  static let configuration = CommandConfiguration(
    commandName: "extend", abstract: "Let a lease last longer: a heartbeat.",
    discussion: "Ends with 2 when there is no such lease any more; stderr says what became of it.")

  @OptionGroup var server: ServerOptions
  @OptionGroup var output: OutputOptions

  @Argument(help: "The lease's id.")
  var lease: String

  @Option(
    help: ArgumentHelp(
      "How long it is to last from now, \(DurationArgument.form). 60s when absent.", valueName: "duration"))
  var ttl: DurationArgument?

  @Flag(help: "Let it end earlier than it would have, where that is what --ttl says.")
  var shorten = false

  func run(_ client: VMPoolClient) throws {
    try show(client.extendLease(lease, ttlMS: ttl?.milliseconds, shorten: shorten ? true : nil)) { LeasesCommand.table([$0]).text }
  }
}
