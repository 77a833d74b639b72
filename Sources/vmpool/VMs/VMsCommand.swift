import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport

struct VMsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "vms", abstract: "Create, show and control VMs.",
    subcommands: [
      List.self, Show.self, Create.self, Start.self, Pause.self, Resume.self, Stop.self, Delete.self,
    ], defaultSubcommand: List.self, aliases: ["ps", "ls"])

  enum State: String, CaseIterable, ExpressibleByArgument { case ready, running, paused, stopped }

  /// What help texts say of an argument that names a VM.
  static let argument = ArgumentHelp("The VM's id, its lease, or a unique beginning of either.", valueName: "vm")
  static let arguments = ArgumentHelp("The VMs' ids, their leases, or unique beginnings of them.", valueName: "vm")

  struct List: ListCommand {
    static let configuration = CommandConfiguration(
      commandName: "list", abstract: "List VMs, the oldest first.", aliases: ["ls", "ps"])
    static let noun = "VMs"

    @OptionGroup var server: ServerOptions
    @OptionGroup var list: ListOptions
    @OptionGroup var of: TenantOption

    @Flag(name: .shortAndLong, help: "List VMs in every state: the default.")
    var all = false

    @Option(help: "Only VMs of this pool.", completion: Completions.pools)
    var pool: String?

    @Option(help: "Only VMs in this state.")
    var state: State?

    func validate() throws {
      if all && state != nil { throw ValidationError("Give either --all or --state.") }
    }

    func items(_ client: VMPoolClient) throws -> [VMDocument] {
      // RFC 3339 in UTC, with the same digits everywhere, sorts as text.
      try client.vms(pool: pool, state: state?.rawValue, tenant: of.tenant)
        .sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }
    }

    func table(_ vms: [VMDocument]) -> Table { VMsCommand.table(vms) }
  }

  struct Show: DocumentCommand {
    static let configuration = CommandConfiguration(
      commandName: "show", abstract: "Show one VM, now or when it has come to a state.",
      discussion: """
        With --wait-for it is shown when it is in that state, when it has stopped, or when --timeout is over. Ends \
        with 1 when it stopped instead, and with 124 when the time was over.
        """, aliases: ["get"])

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: VMsCommand.argument, completion: Completions.vms)
    var vm: String

    @Option(help: "Wait until it is in this state, for as long as --timeout says.")
    var waitFor: State?

    func validate() throws {
      if waitFor != nil && server.timeout.milliseconds > 600_000 {
        throw ValidationError("--timeout is at most 10m with --wait-for.")
      }
    }

    func run(_ client: VMPoolClient) throws {
      let vm = try client.vmReference(vm)
      guard let waitFor else { return try show(client.vm(vm.id, fence: vm.fence), details) }
      // --timeout is the wait's; its answer may take as long as any other.
      client.timeout = max(client.timeout, .seconds(30))
      let document = try client.vm(
        vm.id, waitFor: waitFor.rawValue, timeoutMS: server.timeout.milliseconds, fence: vm.fence)
      try show(document, details)
      if document.state == waitFor.rawValue { return }
      StandardError.complain("\(vm.id) is \(document.state), not \(waitFor)")
      throw ExitCode(document.state == "stopped" ? 1 : 124)
    }
  }

  struct Delete: ServerCommand {
    static let configuration = CommandConfiguration(
      commandName: "rm", abstract: "Delete VMs in any state.", aliases: ["delete"])

    @OptionGroup var server: ServerOptions

    @Argument(help: VMsCommand.arguments, completion: Completions.vms)
    var vm: [String]

    func run(_ client: VMPoolClient) throws {
      let failure = try forEach(vm, client) { text in
        let vm = try client.vmReference(text)
        try client.deleteVM(vm.id, fence: vm.fence)
      }
      if let failure { throw failure }
    }
  }

  static func table(_ vms: [VMDocument]) -> Table {
    var table = Table([
      .init("ID"), .init("POOL", mayShrink: true), .init("IMAGE", mayShrink: true), .init("STATE"),
      .init("VCPUS", alignment: .right), .init("MEMORY", alignment: .right), .init("AGE", alignment: .right),
      .init("STOP", mayShrink: true),
    ])
    for vm in vms {
      table.add([
        vm.id, vm.pool ?? "", vm.image, vm.state, "\(vm.vcpus)", "\(vm.memoryMiB) MiB", Age.since(vm.createdAt),
        vm.stop.map(describe) ?? "",
      ])
    }
    return table
  }

  /// Every member of a VM, one a line.
  static func details(_ vm: VMDocument) -> String {
    properties(
      [
        ("id", vm.id), ("pool", vm.pool ?? "none"), ("lease", vm.lease ?? "none"), ("image", vm.image),
        ("state", vm.state), ("vcpus", "\(vm.vcpus)"), ("memory", "\(vm.memoryMiB) MiB"),
        ("created", "\(vm.createdAt) (\(Age.since(vm.createdAt)) ago)"), ("console", "\(vm.consoleBytes) bytes"),
      ] + vm.warnings.map { ("warning", $0) }
        + (vm.memoryResidentBytes.map { [("memory in use", "\($0 >> 10) KiB")] } ?? [])
        + (vm.stop.map { [("stop", describe($0))] } ?? []))
  }

  /// How a VM stopped, in a few words.
  static func describe(_ stop: StopDocument) -> String {
    if let code = stop.exitCode { return "\(stop.reason) \(code)" }
    if let detail = stop.detail { return "\(stop.reason): \(detail)" }
    return stop.reason
  }
}
