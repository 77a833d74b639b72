package import ComparedKicks

/// A comparison of this server's code with bare C, in alternating rounds.
package protocol Benchmark: Sendable {
  /// The name in reports.
  static var name: String { get }
  /// How many rounds there are; each has every case, with both sides one after the other.
  var rounds: Int { get set }
  /// How vCPUs are kicked, on both sides.
  var mechanisms: [ComparedMechanism] { get set }
  /// The cases that are measured.
  var subjects: [BenchmarkCase.Subject] { get }
  /// The numbers that shape a round, by name, with the unit in the name.
  var settings: [String: Int] { get }
  /// Measures one round of one case on both sides, bare first if asked to.
  func round(
    _ subject: BenchmarkCase.Subject, _ bed: TestBed, bareFirst: Bool
  ) throws(BenchmarkError) -> (bare: Tally, vmpool: Tally)
  /// Ratios between cases, from one round of all of them.
  func relate(_ tallies: [(bare: Tally, vmpool: Tally)], _ recorders: inout [CaseRecorder])
}

extension Benchmark {
  /// Both sides of a round, bare first if asked to.
  func bothSides(
    bareFirst: Bool, bare: () throws(BenchmarkError) -> Tally, vmpool: () throws(BenchmarkError) -> Tally
  ) throws(BenchmarkError) -> (bare: Tally, vmpool: Tally) {
    if bareFirst { return (bare: try bare(), vmpool: try vmpool()) }
    let ours = try vmpool()
    return (bare: try bare(), vmpool: ours)
  }
}

/// How far a benchmark has come.
public struct BenchmarkProgress: Sendable, Equatable {
  /// Rounds of cases that are done.
  public var done: Int
  /// Rounds of cases in all.
  public var total: Int
  /// The case that comes next; nil at the end.
  public var next: BenchmarkCase.Subject?
}
