import APIModel
import ArgumentParser
import CommandLineSupport

/// The benchmarks of this host's KVM: a program of its own, so that the client needs no KVM to be built.
@main
struct VMPoolBenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "vmpool-bench",
    abstract: "Measure this host's KVM, without a server, beside a bare C loop.",
    discussion: """
      Both sides do the same with the same guest in the same run, by turns, in short rounds. A ratio is vmpool's figure \
      divided by bare C's in the same round. The text shows the median of these ratios and their quartiles. Use a \
      release build on a quiet machine: the figures of others mean little.

      Options that take a list take it with commas: --mechanism immediate_exit,signal_mask

      EXIT STATUS
        0   done
        1   a sound mechanism lost a kick, or the benchmark failed
        64  the command line is wrong
        69  /dev/kvm cannot be used here
        73  the file of --plot cannot be written
        74  stdout cannot be written
      `vmpool-bench compare --help` lists those of a comparison.
      """,
    version: Release.version,
    subcommands: [
      BenchKickCommand.self, BenchExitsCommand.self, BenchCreateCommand.self, BenchCloneCommand.self,
      BenchCompareCommand.self,
    ])

  static func main() { Program.run(Self.self) }
}
