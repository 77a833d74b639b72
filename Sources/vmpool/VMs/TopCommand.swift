import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport

struct TopCommand: ServerCommand {
  static let configuration = CommandConfiguration(
    commandName: "top", abstract: "Show what running VMs do, the busiest first, until interrupted.",
    discussion: """
      EXITS/S are returns from KVM_RUN a second, and KICKS/S kicks that were served, since the last look; both are - at \
      the first. On a terminal, q ends it. Where stdout is no terminal, each look is printed after the one before.
      """)

  @OptionGroup var server: ServerOptions

  @Option(help: "Only VMs of this pool.", completion: Completions.pools)
  var pool: String?

  @Option(help: ArgumentHelp("How often to look, \(DurationArgument.form).", valueName: "duration"))
  var interval = DurationArgument.seconds(2)

  @Option(name: [.customShort("n"), .long], help: ArgumentHelp("End after so many looks.", valueName: "count"))
  var looks: Int?

  func validate() throws {
    guard 100...3_600_000 ~= interval.milliseconds else { throw ValidationError("--interval is 100ms to 1h.") }
    guard looks ?? 1 > 0 else { throw ValidationError("--looks is at least 1.") }
  }

  func run(_ client: VMPoolClient) throws {
    var last: [String: Sample] = [:]
    try LiveScreen(interval: interval, frames: looks).run { width in
      let vms = try client.vms(pool: pool)
      let samples = try Self.samples(of: vms, client)
      let rows = samples.map { Row($0.value, before: last[$0.key]) }.sorted(by: Row.isBusier)
      last = samples
      return Self.heading(vms) + "\n" + (rows.isEmpty ? "no running VMs" : Self.table(rows).text(width: width))
    }
  }

  /// A running VM's counts at one instant.
  struct Sample {
    var vm: VMDocument
    var exits: UInt64
    var kicks: UInt64
    var at: ContinuousClock.Instant
  }

  /// A VM's line.
  struct Row {
    var vm: VMDocument
    /// A second; nil at the first look.
    var exits: Double?
    var kicks: Double?

    init(_ sample: Sample, before: Sample?) {
      vm = sample.vm
      guard let before else { return }
      let seconds = before.at.duration(to: sample.at) / .seconds(1)
      guard seconds > 0 else { return }
      exits = Double(sample.exits &- before.exits) / seconds
      kicks = Double(sample.kicks &- before.kicks) / seconds
    }

    static func isBusier(_ a: Row, _ b: Row) -> Bool {
      let (x, y) = ((a.exits ?? 0) + (a.kicks ?? 0), (b.exits ?? 0) + (b.kicks ?? 0))
      return x == y ? a.vm.id < b.vm.id : x > y
    }
  }

  private static func samples(of vms: [VMDocument], _ client: VMPoolClient) throws -> [String: Sample] {
    var samples: [String: Sample] = [:]
    for vm in vms where vm.state == "running" {
      guard let vcpus = try vcpus(of: vm.id, client) else { continue }
      samples[vm.id] = Sample(
        vm: vm, exits: total(vcpus.map(\.exits)), kicks: total(vcpus.map(\.kicks)), at: ContinuousClock.now)
    }
    return samples
  }

  /// A VM's vCPUs; nil where it was deleted since it was listed.
  private static func vcpus(of vm: String, _ client: VMPoolClient) throws -> [VCPUDocument]? {
    do {
      return try client.vcpus(of: vm)
    } catch APIError.problem(let problem) where problem.status == 404 {
      return nil
    }
  }

  private static func total(_ counts: [[String: UInt64]]) -> UInt64 {
    counts.flatMap(\.values).reduce(0, &+)
  }

  private static func heading(_ vms: [VMDocument]) -> String {
    let states = VMsCommand.State.allCases.map { state in
      "\(vms.count { $0.state == state.rawValue }) \(state)"
    }
    return "\(vms.count) VMs: \(states.joined(separator: ", "))"
  }

  static func table(_ rows: [Row]) -> Table {
    var table = Table([
      .init("ID"), .init("POOL", mayShrink: true), .init("IMAGE", mayShrink: true), .init("VCPUS", alignment: .right),
      .init("MEMORY", alignment: .right), .init("EXITS/S", alignment: .right), .init("KICKS/S", alignment: .right),
      .init("AGE", alignment: .right),
    ])
    for row in rows {
      func rate(_ value: Double?) -> String { value.map { "\(Int($0.rounded()))" } ?? "" }
      table.add([
        row.vm.id, row.vm.pool ?? "", row.vm.image, "\(row.vm.vcpus)", "\(row.vm.memoryMiB) MiB", rate(row.exits),
        rate(row.kicks), Age.since(row.vm.createdAt),
      ])
    }
    return table
  }
}
