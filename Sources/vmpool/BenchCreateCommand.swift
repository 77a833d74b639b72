import ArgumentParser
import Benchmarks

struct BenchCreateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "create", abstract: "What it costs to make a VM, and to unmake it.")

  @OptionGroup var options: BenchOptions

  func run() throws {
    var benchmark = CreateBenchmark()
    if options.quick { (benchmark.rounds, benchmark.vmsPerRound) = (2, 2) }
    try options.show(benchmark, plotting: .create, "Making a VM that is ready to run", createText)
  }
}
