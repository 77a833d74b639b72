import ArgumentParser
import Benchmarks
import LinuxSupport

struct BenchCreateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "create", abstract: "What it costs to make a VM, and to unmake it.")

  @OptionGroup var options: BenchOptions

  @Option(help: "VMs a round and side, which are there at once, 1 to 1000. Default: 25.")
  var vms: Int?

  func validate() throws {
    guard 1...1000 ~= vms ?? 1 else { throw ValidationError("--vms is 1 to 1000.") }
  }

  func run() throws {
    var benchmark = CreateBenchmark()
    if options.quick { (benchmark.rounds, benchmark.vmsPerRound) = (2, 2) }
    benchmark.vmsPerRound = vms ?? benchmark.vmsPerRound
    if let errno = DescriptorLimit.raise() {
      throw ValidationError("the limit on descriptors cannot be raised: \(errno)")
    }
    try options.show(benchmark, plotting: .create, "Making a VM that is ready to run", createText)
  }
}
