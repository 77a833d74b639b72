import ArgumentParser
import Benchmarks

struct BenchExitsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "exits",
    abstract: "What an exit from the guest to user space and back costs.",
    discussion: """
      With several vCPUs, as many VMs of one vCPU each exit at once in this process. `--vcpus 1,2,4,8,16,32,64 --guest \
      pio` shows what KVM_SET_SIGNAL_MASK, which takes a lock of the process at every KVM_RUN, makes of that.
      """)

  @OptionGroup var options: BenchOptions

  @Option(help: "What exits, a list: pio, mmio. Default: both.")
  var guest: CommaList<BenchmarkGuest>?

  @Option(help: "vCPUs that exit at once, a list of 1 to 64. Default: 1.")
  var vcpus: CommaList<Positive>?

  @Option(help: "How long exits are counted a round and side, in ms, 1 to 60000. Default: 20.")
  var windowMs: Int?

  func validate() throws {
    guard (guest?.values ?? []).allSatisfy({ [.pio, .mmio].contains($0) }) else {
      throw ValidationError("--guest is pio or mmio here.")
    }
    guard (vcpus?.values ?? []).allSatisfy({ $0.number <= 64 }) else { throw ValidationError("--vcpus are 1 to 64.") }
    guard 1...60_000 ~= windowMs ?? 1 else { throw ValidationError("--window-ms is 1 to 60000.") }
  }

  func run() throws {
    var benchmark = ExitBenchmark()
    if options.quick { (benchmark.rounds, benchmark.windowNS) = (2, 5_000_000) }
    benchmark.windowNS = windowMs.map { UInt64($0) * 1_000_000 } ?? benchmark.windowNS
    benchmark.guests = guest?.values ?? benchmark.guests
    benchmark.vcpus = vcpus?.values.map(\.number) ?? benchmark.vcpus
    try options.show(benchmark, plotting: .cpuPerExit, "Exits: processor time an exit, over rounds", exitsText)
  }
}
