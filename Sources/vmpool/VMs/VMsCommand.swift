import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport

struct VMsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "vms", abstract: "Create, look at and control VMs.",
    subcommands: [
      List.self, Show.self, Create.self, Start.self, Pause.self, Resume.self, Stop.self, Delete.self,
    ], defaultSubcommand: List.self)

  enum State: String, CaseIterable, ExpressibleByArgument { case ready, running, paused, stopped }

  struct List: DocumentCommand {
    static let configuration = CommandConfiguration(abstract: "List VMs, the oldest first.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions

    @Option(help: "Only VMs of this pool.")
    var pool: String?

    @Option(help: "Only VMs in this state.")
    var state: State?

    func run(_ client: VMPoolClient) throws {
      let vms = try client.vms(pool: pool, state: state?.rawValue)
      // RFC 3339 in UTC, with the same digits everywhere, sorts as text.
      try show(list: vms.sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }, of: "VMs", table)
    }
  }

  struct Show: DocumentCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show one VM, now or when it has come to a state.",
      discussion: """
        With --wait-for it is shown when it is in that state, when it has stopped, or when --timeout is over. Ends \
        with 1 when it stopped instead, and with 124 when the time was over.
        """)

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "The VM's id.")
    var vm: String

    @Option(help: "Wait until it is in this state, for as long as --timeout says.")
    var waitFor: State?

    func validate() throws {
      if waitFor != nil && server.timeout.milliseconds > 600_000 {
        throw ValidationError("--timeout is at most 10m with --wait-for.")
      }
    }

    func run(_ client: VMPoolClient) throws {
      guard let waitFor else { return try show(client.vm(vm)) { table([$0]).text } }
      let document = try client.vm(vm, waitFor: waitFor.rawValue, timeoutMS: server.timeout.milliseconds)
      try show(document) { table([$0]).text }
      if document.state == waitFor.rawValue { return }
      StandardError.complain("\(vm) is \(document.state), not \(waitFor)")
      throw ExitCode(document.state == "stopped" ? 1 : 124)
    }
  }

  struct Start: VMTransition {
    static let configuration = CommandConfiguration(abstract: "Start ready VMs.")
    static func apply(_ client: VMPoolClient, _ vm: String) throws(APIError) -> VMDocument { try client.startVM(vm) }

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "The VMs' ids.") var vm: [String]
  }

  struct Pause: VMTransition {
    static let configuration = CommandConfiguration(abstract: "Pause running VMs.")
    static func apply(_ client: VMPoolClient, _ vm: String) throws(APIError) -> VMDocument { try client.pauseVM(vm) }

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "The VMs' ids.") var vm: [String]
  }

  struct Resume: VMTransition {
    static let configuration = CommandConfiguration(abstract: "Resume paused VMs.")
    static func apply(_ client: VMPoolClient, _ vm: String) throws(APIError) -> VMDocument { try client.resumeVM(vm) }

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "The VMs' ids.") var vm: [String]
  }

  struct Stop: VMTransition {
    static let configuration = CommandConfiguration(abstract: "Stop VMs for good; their console output stays.")
    static func apply(_ client: VMPoolClient, _ vm: String) throws(APIError) -> VMDocument { try client.stopVM(vm) }

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "The VMs' ids.") var vm: [String]
  }

  struct Delete: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Delete VMs, whatever their state.")

    @OptionGroup var server: ServerOptions
    @Argument(help: "The VMs' ids.") var vm: [String]

    func run(_ client: VMPoolClient) throws {
      let failure = forEach(vm) { id throws(APIError) in try client.deleteVM(id) }
      if let failure { throw failure }
    }
  }

  static func table(_ vms: [VMDocument]) -> Table {
    var table = Table([
      .init("ID"), .init("POOL"), .init("IMAGE"), .init("STATE"), .init("VCPUS", .right), .init("MEMORY", .right),
      .init("CONSOLE", .right), .init("CREATED"), .init("STOP"),
    ])
    for vm in vms {
      table.add([
        vm.id, vm.pool ?? "", vm.image, vm.state, "\(vm.vcpus)", "\(vm.memoryMiB) MiB", "\(vm.consoleBytes) B",
        vm.createdAt, vm.stop.map(describe) ?? "",
      ])
    }
    return table
  }

  /// How a VM stopped, in a few words.
  static func describe(_ stop: StopDocument) -> String {
    if let code = stop.exitCode { return "\(stop.reason) \(code)" }
    if let detail = stop.detail { return "\(stop.reason): \(detail)" }
    return stop.reason
  }
}

/// A command that takes VMs from one state to another.
protocol VMTransition: DocumentCommand {
  var vm: [String] { get }

  static func apply(_ client: VMPoolClient, _ vm: String) throws(APIError) -> VMDocument
}

extension VMTransition {
  /// With `--json`, one document for each VM; else one table of them all, failures left out.
  func run(_ client: VMPoolClient) throws {
    var changed: [VMDocument] = []
    let failure = forEach(vm) { id throws(APIError) in changed.append(try Self.apply(client, id)) }
    if output.json {
      for document in changed { try show(document) { _ in "" } }
    } else if !changed.isEmpty {
      try StandardOutput.print(VMsCommand.table(changed).text)
    }
    if let failure { throw failure }
  }
}
