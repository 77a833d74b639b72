import ArgumentParser
import Benchmarks
import ComparedKicks

struct BenchKickCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kick",
    abstract: "What it costs to take a vCPU out of the guest.",
    discussion: """
      One kicker pauses before each kick; where there are several vCPUs, it then also kicks all of them at once. \
      Several kickers kick as fast as they are answered. Exits with 1 if a sound mechanism lost a kick; signal_only is \
      expected to: its kick counts as lost after 9 ms.
      """)

  @OptionGroup var options: BenchOptions

  @Option(help: "What is kicked, a list: \(Self.guests.map(\.rawValue).joined(separator: ", ")). Default: spin.")
  var guest: CommaList<BenchmarkGuest>?

  @Option(help: "Threads that kick, a list of 1 to 64. Default: 1.")
  var kickers: CommaList<Positive>?

  @Option(help: "vCPUs, a list of 1 to 8. Default: 1.")
  var vcpus: CommaList<Positive>?

  @Flag(help: "All mechanisms and guests, 1, 4 and 16 kickers, 1, 2 and 8 vCPUs: about ten minutes.")
  var matrix = false

  @Option(help: "One kicker's kicks a round and side, 1 to 1000000. Default: 1000.")
  var kicks: Int?

  @Option(help: "How long a round and side lasts at most, and with several kickers exactly, in ms. Default: 250.")
  var roundMs: Int?

  private static let guests = BenchmarkGuest.allCases

  func validate() throws {
    guard 1...1_000_000 ~= kicks ?? 1 else { throw ValidationError("--kicks is 1 to 1000000.") }
    guard 1...60_000 ~= roundMs ?? 1 else { throw ValidationError("--round-ms is 1 to 60000.") }
    guard (kickers?.values ?? []).allSatisfy({ $0.number <= 64 }) else {
      throw ValidationError("--kickers are 1 to 64.")
    }
    guard (vcpus?.values ?? []).allSatisfy({ $0.number <= 8 }) else { throw ValidationError("--vcpus are 1 to 8.") }
  }

  func run() throws {
    var benchmark = KickBenchmark()
    if matrix {
      benchmark = KickBenchmark(
        rounds: 5, mechanisms: ComparedMechanism.allCases, guests: Self.guests.filter { $0 != .mmio },
        kickers: [1, 4, 16],
        vcpus: [1, 2, 8])
    }
    if options.quick { (benchmark.rounds, benchmark.kicksPerRound, benchmark.roundNS) = (2, 100, 20_000_000) }
    benchmark.kicksPerRound = kicks ?? benchmark.kicksPerRound
    benchmark.roundNS = roundMs.map { UInt64($0) * 1_000_000 } ?? benchmark.roundNS
    benchmark.guests = guest?.values ?? benchmark.guests
    benchmark.kickers = kickers?.values.map(\.number) ?? benchmark.kickers
    benchmark.vcpus = vcpus?.values.map(\.number) ?? benchmark.vcpus
    let report = try options.show(
      benchmark, plotting: .latency, "Kicks: from the request to KVM_RUN having returned", kickText)
    let sound = ComparedMechanism.sound.map(\.rawValue)
    let isLossless = report.cases.allSatisfy { item in
      !sound.contains(item.subject.mechanism) || item.bare.lost + item.vmpool.lost == 0
    }
    if !isLossless { throw ExitCode(1) }
  }
}
