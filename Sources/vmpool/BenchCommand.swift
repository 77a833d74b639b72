import ArgumentParser
import Benchmarks
import Glibc
import JSONCodec
import VCPURuntime

struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measure this host's KVM, without a server, beside a bare C loop.",
    discussion: """
      Both sides do the same with the same guest in the same run, by turns, in short rounds. Ratios are vmpool's figure \
      to bare C's in each round: their median, and the quartiles in which half of the rounds lie. A quiet machine and \
      a release build make them mean something.
      """,
    subcommands: [BenchKickCommand.self, BenchExitsCommand.self, BenchCreateCommand.self])
}

/// What all benchmarks take.
struct BenchOptions: ParsableArguments {
  @Option(help: "Rounds, 1 to 10000. Default: about ten seconds' worth.")
  var rounds: Int?

  @Option(help: "How vCPUs are kicked: \(KickMechanism.allCases.map(\.rawValue).joined(separator: " or ")).")
  var mechanism = KickMechanism.immediateExit

  @Flag(help: "A fraction of a second's worth, to see whether it works; the figures mean little.")
  var quick = false

  @Flag(help: "Print every round's figures as JSON.")
  var json = false

  func validate() throws {
    guard 1...10_000 ~= rounds ?? 1 else { throw ValidationError("--rounds is 1 to 10000.") }
  }

  /// Runs a benchmark and prints what it found. Whatever prevents it becomes a line on stderr and an exit status.
  @discardableResult
  func show<Chosen: Benchmark>(_ benchmark: Chosen, _ text: (Chosen.Report) -> String) throws -> Chosen.Report {
    var benchmark = benchmark
    benchmark.rounds = rounds ?? benchmark.rounds
    benchmark.mechanism = mechanism
    let report: Chosen.Report
    do throws(BenchmarkError) {
      report = try benchmark.run { done in showProgress(done) }
      clearProgress()
    } catch {
      clearProgress()
      writeToStandardError("vmpool: \(error)\n")
      if case .unavailable = error { throw ExitCode(69) }
      throw ExitCode(1)
    }
    print(json ? String(decoding: try JSON.encodePretty(report), as: UTF8.self) : text(report))
    return report
  }

  private func showProgress(_ round: Int) {
    if isatty(STDERR_FILENO) != 0 { writeToStandardError("\rround \(round)\u{1B}[K") }
  }

  private func clearProgress() {
    if isatty(STDERR_FILENO) != 0 { writeToStandardError("\r\u{1B}[K") }
  }

  private func writeToStandardError(_ text: String) {
    // Safe: the string's bytes live for the call.
    _ = unsafe text.withCString { unsafe write(STDERR_FILENO, $0, strlen($0)) }
  }
}

extension KickMechanism: ExpressibleByArgument {}

struct BenchKickCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kick", abstract: "What it costs to take a vCPU out of the guest. Exits with 1 if a kick was lost.")

  @OptionGroup var options: BenchOptions

  @Option(help: "Kicks a round and side, 1 to 1000000. Default: 1000.")
  var kicks: Int?

  func validate() throws {
    guard 1...1_000_000 ~= kicks ?? 1 else { throw ValidationError("--kicks is 1 to 1000000.") }
  }

  func run() throws {
    var benchmark = KickBenchmark()
    if options.quick { (benchmark.rounds, benchmark.kicksPerRound) = (2, 100) }
    benchmark.kicksPerRound = kicks ?? benchmark.kicksPerRound
    let report = try options.show(benchmark, Self.text)
    if report.bare.lost + report.vmpool.lost > 0 { throw ExitCode(1) }
  }

  private static func text(_ report: KickReport) -> String {
    var table = Table([
      .init("KICK"), .init("P50", .right), .init("P90", .right), .init("P99", .right), .init("P99.9", .right),
      .init("MAX", .right),
    ])
    table.add(["KVM_RUN left, bare C"] + cells(report.bare.latency))
    table.add(["KVM_RUN left, vmpool"] + cells(report.vmpool.latency))
    table.add(["ratio", cell(report.ratios.latencyP50), "", cell(report.ratios.latencyP99), "", ""])
    table.add(["acknowledged, bare C"] + cells(report.bare.call))
    table.add(["acknowledged, vmpool"] + cells(report.vmpool.call))
    table.add(["ratio", cell(report.ratios.callP50), "", cell(report.ratios.callP99), "", ""])
    let phases = (report.vmpool.phases ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
    return table.text + "\n\n"
      + properties(
        [
          (
            "rounds",
            "\(report.rounds.count) of \(report.kicksPerRound) kicks a side, each after "
              + "\(report.pauseNS / 1000) µs of spinning; medians over rounds, and the longest of all"
          ),
          ("vmpool's landed in", phases.joined(separator: ", ")),
          ("lost", "\(report.bare.lost) bare C, \(report.vmpool.lost) vmpool"),
          ("processors", placement(report.isPinned)), ("mechanism", report.mechanism), ("guest", report.guest),
        ] + hostProperties(report.host))
  }
}

struct BenchExitsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "exits", abstract: "What an exit from the guest to user space and back costs.")

  @OptionGroup var options: BenchOptions

  func run() throws {
    var benchmark = ExitBenchmark()
    if options.quick { (benchmark.rounds, benchmark.windowNS) = (2, 5_000_000) }
    try options.show(benchmark, Self.text)
  }

  private static func text(_ report: ExitReport) -> String {
    var table = Table([
      .init("GUEST"), .init("BARE C", .right), .init("VMPOOL", .right), .init("RATIO", .right),
    ])
    for guest in report.guests {
      table.add([
        guest.guest, "\(fixed(guest.bare.median, 0)) ns", "\(fixed(guest.vmpool.median, 0)) ns", cell(guest.ratio),
      ])
    }
    let rounds = report.guests.first?.rounds.count ?? 0
    return table.text + "\n\n"
      + properties(
        [
          ("rounds", "\(rounds) of \(report.windowNS / 1_000_000) ms a guest and side; medians over rounds"),
          ("processors", placement(report.isPinned)), ("mechanism", report.mechanism),
        ] + hostProperties(report.host))
  }
}

struct BenchCreateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "create", abstract: "What it costs to make a VM, and to unmake it.")

  @OptionGroup var options: BenchOptions

  func run() throws {
    var benchmark = CreateBenchmark()
    if options.quick { (benchmark.rounds, benchmark.vmsPerRound) = (2, 2) }
    try options.show(benchmark, Self.text)
  }

  private static func text(_ report: CreateReport) -> String {
    var table = Table([
      .init("VM"), .init("P50", .right), .init("P90", .right), .init("P99", .right), .init("MAX", .right),
    ])
    func add(_ name: String, _ quantiles: Quantiles) {
      table.add([name] + [quantiles.p50, quantiles.p90, quantiles.p99, quantiles.max].map(humanised))
    }
    add("create, bare ioctls", report.bare.create)
    add("create, vmpool", report.vmpool.create)
    table.add(["ratio", cell(report.ratios.createP50), "", "", ""])
    add("destroy, bare ioctls", report.bare.destroy)
    add("destroy, vmpool", report.vmpool.destroy)
    table.add(["ratio", cell(report.ratios.destroyP50), "", "", ""])
    return table.text + "\n\n"
      + properties(
        [
          (
            "rounds",
            "\(report.rounds.count) of \(report.vmsPerRound) VMs a side, by turns; medians over rounds, and the longest "
              + "of all"
          ),
          ("guest", "\(report.guest), 1 vCPU, \(report.memoryMiB) MiB"), ("mechanism", report.mechanism),
        ] + hostProperties(report.host))
  }
}

private func cells(_ quantiles: Quantiles) -> [String] {
  [quantiles.p50, quantiles.p90, quantiles.p99, quantiles.p999, quantiles.max].map(humanised)
}

/// A ratio's median, and its quartiles.
private func cell(_ ratio: Spread) -> String {
  "\(fixed(ratio.median, 3)) (\(fixed(ratio.lowerQuartile, 2))–\(fixed(ratio.upperQuartile, 2)))"
}

private func fixed(_ value: Double, _ decimals: Int) -> String {
  let scale = (0..<decimals).reduce(1) { scale, _ in scale * 10 }
  let scaled = Int((value * Double(scale)).rounded())
  if decimals == 0 { return "\(scaled)" }
  let fraction = String(scaled % scale)
  return "\(scaled / scale)." + String(repeating: "0", count: decimals - fraction.count) + fraction
}

private func placement(_ isPinned: Bool) -> String {
  isPinned ? "the caller kept on one, vCPUs on another" : "left to the scheduler"
}

private func hostProperties(_ host: HostDescription) -> [(name: String, value: String)] {
  [
    ("host", "\(host.cpu), \(host.cpus) processors, Linux \(host.kernel)"),
    ("ring 0", host.isKVMPVM ? "emulated in software (kvm_pvm)" : "native"),
  ]
}
