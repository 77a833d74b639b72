import JSONCodec
import Testing

@testable import Benchmarks

@Suite struct ReportValidationTests {
  private static let valid = SampleReport.report([SampleReport.item(rounds: [[10, 20], [30]])])

  @Test func aReportThatWasWrittenIsRead() throws {
    let report = try JSON.decode(BenchmarkReport.self, from: JSON.encodePretty(Self.valid))
    #expect(report == Self.valid)
    try report.validate()
  }

  /// What makes a valid report none.
  struct Damage: Sendable {
    let name: String
    let change: @Sendable (inout BenchmarkReport) -> Void

    init(_ name: String, _ change: @escaping @Sendable (inout BenchmarkReport) -> Void) {
      self.name = name
      self.change = change
    }

    static let all = [
      Damage("another layout") { $0.schema = "vmpool-bench/2" }, Damage("no benchmark") { $0.benchmark = "" },
      Damage("a case twice") { $0.cases.append($0.cases[0]) },
      Damage("an unknown figure") { $0.cases[0].vmpool.durations["x"] = $0.cases[0].vmpool.durations["latency"] },
      Damage("quantiles that descend") { $0.cases[0].vmpool.durations["latency"]?.p90 = 1 },
      Damage("no durations") { $0.cases[0].bare.durations["latency"]?.count = 0 },
      Damage("another count") { $0.cases[0].bare.durations["latency"]?.count = 4 },
      Damage("no rounds") {
        $0.cases[0].bare.durations["latency"]?.roundP50 = []
        $0.cases[0].bare.durations["latency"]?.roundP99 = []
      },
      Damage("rounds that do not match") { $0.cases[0].bare.durations["latency"]?.roundP99 = [20] },
      Damage("a round beyond the longest") { $0.cases[0].bare.durations["latency"]?.roundP99 = [20, 31] },
      Damage("an endless duration") { $0.cases[0].bare.durations["latency"]?.max = .max },
      Damage("a negative count") { $0.cases[0].vmpool.counts["lost"] = -1 },
    ]
  }

  @Test(arguments: Damage.all) func refuses(damage: Damage) {
    var report = Self.valid
    damage.change(&report)
    #expect(throws: ReportError.self, "\(damage.name)") { try report.validate() }
  }
}
