import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport

struct VCPUsCommand: DocumentCommand {
  static let configuration = CommandConfiguration(
    commandName: "vcpus", abstract: "Show a VM's vCPUs: state, exits by reason, kicks by phase.")

  @OptionGroup var server: ServerOptions
  @OptionGroup var output: OutputOptions

  @Argument(help: VMsCommand.argument, completion: Completions.vms)
  var vm: String

  func run(_ client: VMPoolClient) throws {
    let vm = try client.vmReference(vm)
    try output.show(list: client.vcpus(of: vm.id, fence: vm.fence), of: "vCPUs") { vcpus in
      var table = Table([
        .init("VCPU", alignment: .right), .init("STATE"), .init("EXITS", mayShrink: true),
        .init("KICKS", mayShrink: true),
      ])
      for vcpu in vcpus { table.add(["\(vcpu.index)", vcpu.state, Self.counts(vcpu.exits), Self.counts(vcpu.kicks)]) }
      return table
    }
  }

  /// The counts that are not zero, the largest first.
  private static func counts(_ counts: [String: UInt64]) -> String {
    counts.filter { $0.value > 0 }.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
      .map { "\($0.key)=\($0.value)" }.joined(separator: " ")
  }
}

struct KickCommand: DocumentCommand {
  static let configuration = CommandConfiguration(
    commandName: "kick", abstract: "Kick a VM's vCPUs out of KVM_RUN; the guest goes on afterwards.")

  @OptionGroup var server: ServerOptions
  @OptionGroup var output: OutputOptions

  @Argument(help: VMsCommand.argument, completion: Completions.vms)
  var vm: String

  @Option(help: ArgumentHelp("Kick only this vCPU.", valueName: "index"))
  var vcpu: Int?

  @Flag(help: "Kick every vCPU: signal all, then wait for all. The default.")
  var all = false

  @Option(
    help: ArgumentHelp("How many milliseconds to wait for the acknowledgement; 1000 when absent.", valueName: "ms"))
  var timeoutMs: Int?

  func validate() throws {
    if all && vcpu != nil { throw ValidationError("Give either --vcpu or --all.") }
  }

  func run(_ client: VMPoolClient) throws {
    let vm = try client.vmReference(vm)
    if let vcpu {
      try show(client.kick(vcpu: vcpu, of: vm.id, timeoutMS: timeoutMs, fence: vm.fence)) { Self.table([$0]).text }
    } else {
      try show(client.kickAll(of: vm.id, timeoutMS: timeoutMs, fence: vm.fence)) { Self.table($0.kicks).text }
    }
  }

  static func table(_ kicks: [KickDocument]) -> Table {
    var table = Table([
      .init("VCPU", alignment: .right), .init("GENERATION", alignment: .right), .init("PHASE"),
      .init("LATENCY", alignment: .right),
      .init("TO HANDLER", alignment: .right), .init("SIGNALS", alignment: .right), .init("MECHANISM"),
    ])
    for kick in kicks {
      table.add([
        "\(kick.vcpu)", "\(kick.generation)", kick.phase, humanised(nanoseconds: kick.latencyNS),
        kick.signalLatencyNS.map(humanised(nanoseconds:)) ?? "", kick.coalesced ? "coalesced" : "\(kick.signalsSent)",
        kick.mechanism,
      ])
    }
    return table
  }
}

struct RegistersCommand: DocumentCommand {
  static let configuration = CommandConfiguration(
    commandName: "registers", abstract: "Show the registers of a vCPU of a paused VM.")

  @OptionGroup var server: ServerOptions
  @OptionGroup var output: OutputOptions

  @Argument(help: VMsCommand.argument, completion: Completions.vms)
  var vm: String

  @Option(help: ArgumentHelp("The vCPU.", valueName: "index"))
  var vcpu = 0

  func run(_ client: VMPoolClient) throws {
    let vm = try client.vmReference(vm)
    try show(client.registers(ofVCPU: vcpu, of: vm.id, fence: vm.fence)) { registers in
      let values = [registers.general, registers.control].flatMap(Self.inOrder)
      var segments = Table([
        .init("SEGMENT"), .init("SELECTOR", alignment: .right), .init("BASE", alignment: .right),
        .init("LIMIT", alignment: .right),
        .init("TYPE", alignment: .right), .init("DPL", alignment: .right), .init("FLAGS"),
      ])
      for (name, segment) in Self.inOrder(registers.segments) {
        let flags = [segment.present ? "present" : "", segment.long ? "long" : ""].filter { !$0.isEmpty }
        segments.add([
          name, segment.selector, segment.base, segment.limit, "\(segment.type)", "\(segment.dpl)",
          flags.joined(separator: " "),
        ])
      }
      let tables = Self.inOrder(registers.tables).map { ($0.name, "base \($0.value.base) limit \($0.value.limit)") }
      return [properties(values), segments.text, properties(tables)].joined(separator: "\n\n")
    }
  }

  /// By name, with the numbers in names (`r8`, `r15`) as numbers, and after the names without.
  private static func inOrder<Value>(_ members: [String: Value]) -> [(name: String, value: Value)] {
    func rank(_ name: String) -> (Int, String) { (Int(name.drop { !$0.isNumber }) ?? 0, name) }
    return members.sorted { rank($0.key) < rank($1.key) }.map { (name: $0.key, value: $0.value) }
  }
}
