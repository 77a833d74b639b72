import ArgumentParser
import Benchmarks
import LinuxSupport

struct BenchCloneCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "clone",
    abstract: "What it costs to clone a VM from a template, and to reset it.",
    discussion: """
      A template is a VM that was frozen before its guest ran. A reset follows a run in which the guest wrote a byte to \
      each of so many pages and ended. `--memory 128 --pages 1 --clones 100` shows a hundred clones at once. The picture \
      of --plot is of resets.
      """)

  @OptionGroup var options: BenchOptions

  @Option(help: "Memory of a VM in MiB, a list of 2 to 1024. Default: 128.")
  var memory: CommaList<Positive>?

  @Option(help: "Pages that the guest writes, a list, as far as they fit. Default: 1,64,1000,10000.")
  var pages: CommaList<Positive>?

  @Flag(help: "Memory of 2, 128 and 1024 MiB: about a minute.")
  var matrix = false

  @Option(help: "Clones a round and side, which are there at once, 1 to 5000. Default: 10.")
  var clones: Int?

  @Option(help: "Resets a round and side, 1 to 10000. Default: 5.")
  var resets: Int?

  func validate() throws {
    guard (memory?.values ?? []).allSatisfy({ 2...1024 ~= $0.number }) else {
      throw ValidationError("--memory is 2 to 1024 (MiB).")
    }
    guard (pages?.values ?? []).allSatisfy({ $0.number <= 261_888 }) else {
      throw ValidationError("--pages are 1 to 261888.")
    }
    guard 1...5000 ~= clones ?? 1 else { throw ValidationError("--clones is 1 to 5000.") }
    guard 1...10_000 ~= resets ?? 1 else { throw ValidationError("--resets is 1 to 10000.") }
  }

  func run() throws {
    var benchmark = CloneBenchmark()
    if matrix { benchmark.memoryMiB = [2, 128, 1024] }
    if options.quick { (benchmark.rounds, benchmark.clonesPerRound, benchmark.resetsPerRound) = (2, 2, 1) }
    benchmark.memoryMiB = memory?.values.map(\.number) ?? benchmark.memoryMiB
    benchmark.dirtyPages = pages?.values.map(\.number) ?? benchmark.dirtyPages
    benchmark.clonesPerRound = clones ?? benchmark.clonesPerRound
    benchmark.resetsPerRound = resets ?? benchmark.resetsPerRound
    guard !benchmark.subjects.isEmpty else { throw ValidationError("--pages do not fit into --memory.") }
    if let errno = DescriptorLimit.raise() {
      throw ValidationError("the limit on descriptors cannot be raised: \(errno)")
    }
    // As the server does it, which has as many VMs.
    ProcessMemory.keep()
    try options.show(benchmark, plotting: .reset, "Resetting a clone", cloneText)
  }
}
