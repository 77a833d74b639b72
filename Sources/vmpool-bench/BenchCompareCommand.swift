import ArgumentParser
import Benchmarks
import CommandLineSupport
import Foundation
import JSONCodec

struct BenchCompareCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare",
    abstract: "What became slower from one `bench … --json` to another: between hosts, kernels or versions.",
    discussion: """
      Each figure's change comes with an interval in which it lies with a probability of 99 %, by bootstrap over \
      rounds. Slower is what the whole interval says is slower, by more than the threshold; unclear, what it says too \
      little of. Bare C's figures are \
      compared too, and decide nothing: what became slower there as well is the host's doing.

      EXIT STATUS
        0   nothing became slower
        1   something of vmpool's became slower, or loses kicks now
        64  the command line is wrong
        65  a file is no report, or the two cannot be compared
        66  a file cannot be read
      """)

  @Argument(help: ArgumentHelp("The report to compare with.", valueName: "a.json"))
  var before: String

  @Argument(help: ArgumentHelp("The report that is judged.", valueName: "b.json"))
  var after: String

  @Option(help: "How many percent slower do not matter, 0 to 1000.")
  var threshold = 5.0

  @Flag(help: "Show every figure, and not only those that changed.")
  var all = false

  @Flag(help: "Print every figure as JSON.")
  var json = false

  func validate() throws {
    guard 0...1000 ~= threshold else { throw ValidationError("--threshold is 0 to 1000 (percent).") }
  }

  func run() throws {
    let (a, b) = (try read(before), try read(after))
    let comparison: ReportComparison
    do throws(ReportError) {
      comparison = try ReportComparison(from: a, to: b, thresholdPercent: threshold)
    } catch { throw failure(65, "\(before) and \(after) cannot be compared: \(error)") }
    try StandardOutput.print(
      json ? String(decoding: try JSON.encodePretty(comparison), as: UTF8.self) : text(comparison, a, b))
    if comparison.isWorse { throw ExitCode(1) }
  }

  /// The largest report that is read, in bytes: no benchmark writes one as large.
  private static let largestFile = 64 << 20

  private func read(_ path: String) throws -> BenchmarkReport {
    let bytes: [UInt8]
    do {
      let file = try FileHandle(forReadingFrom: URL(filePath: path))
      bytes = [UInt8](try file.read(upToCount: Self.largestFile + 1) ?? Data())
    } catch { throw failure(66, "\(path) cannot be read: \(error.localizedDescription)") }
    guard bytes.count <= Self.largestFile else { throw failure(65, "\(path) is larger than any report") }
    let report: BenchmarkReport
    do throws(JSONDecodingError) {
      report = try JSON.decode(BenchmarkReport.self, from: bytes)
    } catch { throw failure(65, "\(path) is no report: \(error)") }
    do throws(ReportError) {
      try report.validate()
    } catch { throw failure(65, "\(path) is no report: \(error)") }
    return report
  }

  private func failure(_ status: Int32, _ text: String) -> ExitCode {
    StandardError.complain(text)
    return ExitCode(status)
  }

  private func text(_ comparison: ReportComparison, _ a: BenchmarkReport, _ b: BenchmarkReport) -> String {
    var table = Table([
      .init("CASE"), .init("SIDE"), .init("FIGURE"), .init("BEFORE", alignment: .right),
      .init("AFTER", alignment: .right),
      .init("CHANGE", alignment: .right), .init("99 % INTERVAL", alignment: .right), .init("VERDICT"),
    ])
    func percent(_ ratio: Double) -> String { (ratio < 1 ? "" : "+") + fixed((ratio - 1) * 100, 1) + " %" }
    let shown = comparison.lines.filter { all || $0.verdict != .same }
    for line in shown {
      table.add([
        line.subject.label(in: a.benchmark), line.side, "\(line.figure) \(line.quantile)",
        humanised(nanoseconds: UInt64(line.before)), humanised(nanoseconds: UInt64(line.after)), percent(line.ratio),
        "\(percent(line.low)) to \(percent(line.high))", line.verdict.rawValue,
      ])
    }
    func count(_ verdict: ReportComparison.Verdict) -> Int {
      comparison.lines.count { $0.side == "vmpool" && $0.verdict == verdict }
    }
    let lost = comparison.newlyLost.map { $0.label(in: a.benchmark) }
    var summary = [
      ("before", describe(a)), ("after", describe(b)),
      (
        "vmpool's figures",
        "\(count(.slower)) slower, \(count(.faster)) faster, \(count(.same)) the same "
          + "(within \(fixed(threshold, 1)) %), \(count(.unclear)) unclear"
      ),
    ]
    if comparison.unmatched > 0 { summary.append(("not compared", "\(comparison.unmatched) cases of one report only")) }
    if !lost.isEmpty { summary.append(("loses kicks now", lost.joined(separator: "; "))) }
    return (shown.isEmpty ? "" : table.text + "\n\n") + properties(summary)
  }

  private func describe(_ report: BenchmarkReport) -> String {
    "vmpool \(report.version), \(report.host.cpu), Linux \(report.host.kernel), \(report.measuredAt)"
  }
}
