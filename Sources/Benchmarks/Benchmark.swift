public import VCPURuntime

/// A comparison of this server's code with bare C, in alternating rounds.
public protocol Benchmark: Sendable {
  /// Everything it found: of every round, and summed up.
  associatedtype Report: Codable & Sendable

  /// How many rounds there are.
  var rounds: Int { get set }
  /// How vCPUs are kicked, on both sides.
  var mechanism: KickMechanism { get set }

  /// Runs it, on the calling thread. `progress` is told how many rounds are done.
  func run(progress: (Int) -> Void) throws(BenchmarkError) -> Report
}
