import APIModel
import ArgumentParser
import Benchmarks
import CommandLineSupport
import ComparedKicks
import Foundation
import JSONCodec

/// The options that all benchmarks take.
struct BenchOptions: ParsableArguments {
  @Option(help: "Rounds, 1 to 10000. Default: about ten seconds' worth.")
  var rounds: Int?

  @Option(help: "How vCPUs are kicked, a list: \(ComparedMechanism.allCases.map(\.rawValue).joined(separator: ", ")).")
  var mechanism: CommaList<ComparedMechanism>?

  @Flag(help: "A fraction of a second's worth, to see whether it works; the figures mean little.")
  var quick = false

  @Flag(help: "Print every figure as JSON, for `vmpool bench compare` among others.")
  var json = false

  @Flag(help: "Print every figure as CSV, one a line.")
  var csv = false

  @Option(help: "Also draw the cumulative distributions into this SVG file; up to \(CumulativePlot.mostColours) cases.")
  var plot: String?

  func validate() throws {
    guard 1...10_000 ~= rounds ?? 1 else { throw ValidationError("--rounds is 1 to 10000.") }
    guard !(json && csv) else { throw ValidationError("--json and --csv exclude each other.") }
  }

  /// Runs a benchmark, prints its report and draws `figure`. A failure becomes a line on stderr and an exit status.
  @discardableResult
  func show(
    _ benchmark: some Benchmark, plotting figure: Figure, _ title: String, _ text: (BenchmarkReport) -> String
  ) throws -> BenchmarkReport {
    let benchmark = configured(benchmark)
    try checkSize(benchmark)
    let progress = ProgressLine(of: benchmark)
    let report: BenchmarkReport
    do throws(BenchmarkError) {
      report = try benchmark.run(version: Release.version) { progress.show($0) }
    } catch {
      progress.clear()
      StandardError.complain("\(error)")
      if case .unavailable = error { throw ExitCode(69) }
      throw ExitCode(1)
    }
    if let plot { try draw(report, figure, title, into: plot) }
    if csv {
      try StandardOutput.print(report.csv, terminator: "")
    } else {
      try StandardOutput.print(json ? String(decoding: try JSON.encodePretty(report), as: UTF8.self) : text(report))
    }
    return report
  }

  private func configured<Chosen: Benchmark>(_ benchmark: Chosen) -> Chosen {
    var benchmark = benchmark
    benchmark.rounds = rounds ?? benchmark.rounds
    benchmark.mechanisms = mechanism?.values ?? benchmark.mechanisms
    return benchmark
  }

  /// Refuses, before it takes the time, a run whose report or picture would be too large to read.
  private func checkSize(_ benchmark: some Benchmark) throws {
    let cases = benchmark.subjects.count
    if plot != nil, cases > CumulativePlot.mostColours {
      throw ValidationError("--plot draws \(CumulativePlot.mostColours) cases at most, and these are \(cases).")
    }
    // `compare` reads reports of up to 65536 JSON values.
    if json, cases * (200 + 24 * benchmark.rounds) > JSON.valueLimit, cases > 1 || benchmark.rounds > 2000 {
      throw ValidationError("\(cases) cases of \(benchmark.rounds) rounds are too many for --json: take fewer rounds.")
    }
  }

  private func draw(_ report: BenchmarkReport, _ figure: Figure, _ title: String, into path: String) throws {
    let host = "\(report.host.cpu), Linux \(report.host.kernel)"
    let plot = report.plot(figure, title: title, axis: "duration, logarithmic (\(host))")
    do {
      try plot.svg.write(toFile: path, atomically: true, encoding: .utf8)
    } catch {
      StandardError.complain("\(path) cannot be written: \(error.localizedDescription)")
      throw ExitCode(73)
    }
  }
}

/// Values separated by commas, none twice.
struct CommaList<Value: RawRepresentable & Hashable & Sendable>: ExpressibleByArgument, Sendable
where Value.RawValue == String {
  let values: [Value]

  init?(argument: String) {
    let values = argument.split(separator: ",", omittingEmptySubsequences: false).map { Value(rawValue: String($0)) }
    let known = values.compactMap { $0 }
    guard !known.isEmpty, known.count == values.count, Set(known).count == known.count else { return nil }
    self.values = known
  }
}

/// A number from 1 up to a limit, as an element of a list.
struct Positive: RawRepresentable, Hashable, Sendable {
  let number: Int

  init?(rawValue: String) {
    guard let number = Int(rawValue), number > 0 else { return nil }
    self.number = number
  }

  var rawValue: String { "\(number)" }
}
