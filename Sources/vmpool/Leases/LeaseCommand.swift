import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport

struct LeaseCommand: DocumentCommand {
  static let configuration = CommandConfiguration(
    commandName: "lease", abstract: "Take a VM out of a pool, for a time.",
    discussion: """
      Extend the lease before it expires (`vmpool extend`), and release it when you are done (`vmpool release`): the \
      server takes the VM apart then, and makes another. Durations are \(DurationArgument.form).
      Ends with 75 when no VM was ready in time.
      """)

  @OptionGroup var server: ServerOptions
  @OptionGroup var output: OutputOptions
  @OptionGroup var quiet: QuietOptions

  @Argument(help: "The pool's name.", completion: Completions.pools)
  var pool: String

  @Option(help: ArgumentHelp("How long the lease lasts unless it is extended; 60s when absent.", valueName: "duration"))
  var ttl: DurationArgument?

  @Option(help: ArgumentHelp("How long to wait for a VM when none is ready; 0 when absent.", valueName: "duration"))
  var wait: DurationArgument?

  @Flag(help: "Leave the VM ready, and do not start it.")
  var noStart = false

  @Option(help: ArgumentHelp("A label of the lease, which lists show; may be repeated.", valueName: "name=value"))
  var label: [Label] = []

  @OptionGroup var arguments: GuestArgumentOptions

  @Option(
    help: ArgumentHelp(
      "A key of your choice. Repeat the command with it when no answer came: it leases one VM, not two.",
      valueName: "key"))
  var idempotencyKey: String?

  func validate() throws {
    guard Set(label.map(\.name)).count == label.count else { throw ValidationError("A --label is given twice.") }
  }

  var mentioned: [Mention] { [.pool(pool)] }

  func run(_ client: VMPoolClient) throws {
    let labels = Dictionary(uniqueKeysWithValues: label.map { ($0.name, $0.value) })
    let request = LeaseRequestDocument(
      ttlMS: ttl?.milliseconds, waitMS: wait?.milliseconds, start: !noStart, labels: labels,
      commandLine: try arguments.commandLine(ofImage: client.pool(pool).image, client),
      environment: arguments.environment)
    let lease = try client.lease(from: pool, request, idempotencyKey: idempotencyKey)
    try output.show(lease, quiet: quiet.quiet, LeasesCommand.table)
  }
}

/// `name=value`.
struct Label: ExpressibleByArgument, Equatable {
  var name: String
  var value: String

  init?(argument: String) {
    guard let sign = argument.firstIndex(of: "="), sign > argument.startIndex else { return nil }
    name = String(argument[..<sign])
    value = String(argument[argument.index(after: sign)...])
  }
}
