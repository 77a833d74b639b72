import ArgumentParser

struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measure this host's KVM, without a server, beside a bare C loop.",
    discussion: """
      Both sides do the same with the same guest in the same run, by turns, in short rounds. Ratios are vmpool's figure \
      to bare C's in each round: their median, and the quartiles in which half of the rounds lie. A quiet machine and \
      a release build make them mean something.

      Options that take a list take it with commas: --mechanism immediate_exit,signal_mask
      """,
    subcommands: [BenchKickCommand.self, BenchExitsCommand.self, BenchCreateCommand.self, BenchCompareCommand.self])
}
