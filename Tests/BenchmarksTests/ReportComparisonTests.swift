import JSONCodec
import TestSupport
import Testing

@testable import Benchmarks

@Suite struct ReportComparisonTests {
  /// Twenty rounds of a hundred durations around `typical`, a few percent apart.
  private func rounds(
    around typical: Double, _ generator: inout SeededGenerator, count: Int = 20
  ) -> [[UInt64]] {
    (0..<count).map { _ in
      let level = typical * Double.random(in: 0.97...1.03, using: &generator)
      return (0..<100).map { _ in UInt64(level * Double.random(in: 0.8...1.25, using: &generator)) }
    }
  }

  private func report(_ rounds: [[UInt64]]) -> BenchmarkReport {
    SampleReport.report([SampleReport.item(rounds: rounds)])
  }

  @Test(
    arguments: [
      (1.0, 10, .same), (1.5, 5, .slower), (0.6, 5, .faster), (1.5, 100, .same), (1.2, 5, .slower),
      (3, 100, .slower),
    ] as [(Double, Double, ReportComparison.Verdict)])
  func tellsAChangeFromNoise(factor: Double, threshold: Double, verdict: ReportComparison.Verdict) throws {
    var generator = SeededGenerator(for: #function)
    let before = report(rounds(around: 30_000, &generator))
    let after = report(rounds(around: 30_000 * factor, &generator))
    let comparison = try ReportComparison(from: before, to: after, thresholdPercent: threshold)
    #expect(comparison.lines.map(\.quantile) == ["p50", "p99", "p50", "p99"])
    #expect(comparison.lines.map(\.side) == ["vmpool", "vmpool", "bare", "bare"])
    for line in comparison.lines {
      #expect(line.verdict == verdict, "\(line)")
      #expect(line.low <= line.ratio && line.ratio <= line.high, "\(line)")
      #expect(abs(line.ratio / factor - 1) < 0.1, "\(line)")
    }
    #expect(comparison.isWorse == (verdict == .slower))
    #expect(try ReportComparison(from: before, to: after, thresholdPercent: threshold) == comparison)
    #expect(try JSON.decode(ReportComparison.self, from: JSON.encode(comparison)) == comparison)
  }

  /// A round that was disturbed widens the interval; it does not move the verdict.
  @Test func aDisturbedRoundIsNoRegression() throws {
    var generator = SeededGenerator(for: #function)
    let before = rounds(around: 30_000, &generator)
    var after = before
    after[3] = after[3].map { $0 * 50 }
    #expect(try !ReportComparison(from: report(before), to: report(after), thresholdPercent: 5).isWorse)
  }

  @Test func whatVariesMuchProvesNothing() throws {
    let before = [10, 100, 1000, 10_000, 100_000].map { [UInt64($0)] }
    let after = [20, 200, 2000, 20_000, 200_000].map { [UInt64($0)] }
    let comparison = try ReportComparison(from: report(before), to: report(after), thresholdPercent: 5)
    #expect(comparison.lines.allSatisfy { $0.ratio == 2 && $0.verdict == .unclear })
  }

  @Test func bareCDecidesNothing() throws {
    let old = SampleReport.tally(.latency, [100])
    let new = SampleReport.tally(.latency, [200])
    func report(bare: Tally, vmpool: Tally) -> BenchmarkReport {
      var recorder = CaseRecorder(SampleReport.subject())
      for _ in 0..<10 { recorder.add(bare: bare, vmpool: vmpool) }
      return SampleReport.report([recorder.result])
    }
    let before = report(bare: old, vmpool: old)
    let onlyBare = try ReportComparison(from: before, to: report(bare: new, vmpool: old), thresholdPercent: 5)
    #expect(!onlyBare.isWorse)
    #expect(onlyBare.lines.contains { $0.side == "bare" && $0.verdict == .slower })
    #expect(try ReportComparison(from: before, to: report(bare: old, vmpool: new), thresholdPercent: 5).isWorse)
  }

  @Test(arguments: [("immediate_exit", true), ("ip_fixup", true), ("signal_only", false)])
  func losingKicksIsWorseWhereNoneMayBeLost(mechanism: String, isWorse: Bool) throws {
    let subject = SampleReport.subject(mechanism: mechanism)
    let rounds = [[UInt64]](repeating: [100], count: 6)
    let before = SampleReport.report([SampleReport.item(subject, rounds: rounds)])
    let after = SampleReport.report([SampleReport.item(subject, rounds: rounds, lost: 1)])
    #expect(try ReportComparison(from: before, to: after, thresholdPercent: 5).isWorse == isWorse)
    #expect(try !ReportComparison(from: after, to: after, thresholdPercent: 5).isWorse)
  }

  @Test func refusesWhatCannotBeCompared() throws {
    let rounds = [[UInt64]](repeating: [100], count: 6)
    let report = report(rounds)
    let others = [
      SampleReport.report([SampleReport.item(figure: .perExit, rounds: rounds)], benchmark: "exits"),
      SampleReport.report([]), SampleReport.report([SampleReport.item(figure: .call, rounds: rounds)]),
      SampleReport.report([SampleReport.item(SampleReport.subject(vcpus: 2), rounds: rounds)]),
      self.report(Array(rounds.prefix(4))),
    ]
    for other in others {
      #expect(throws: ReportError.self) { try ReportComparison(from: report, to: other, thresholdPercent: 5) }
      #expect(throws: ReportError.self) { try ReportComparison(from: other, to: report, thresholdPercent: 5) }
    }
  }

  @Test func countsCasesOfOneReportOnly() throws {
    let rounds = [[UInt64]](repeating: [100], count: 6)
    let items = [1, 2, 3].map { SampleReport.item(SampleReport.subject(vcpus: $0), rounds: rounds) }
    let comparison = try ReportComparison(
      from: SampleReport.report([items[0], items[1]]), to: SampleReport.report([items[1], items[2]]),
      thresholdPercent: 5)
    #expect(comparison.unmatched == 2)
    #expect(Set(comparison.lines.map(\.subject)) == [items[1].subject])
  }
}
