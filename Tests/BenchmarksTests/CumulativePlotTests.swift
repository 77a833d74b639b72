import Foundation
import FoundationXML
import TestSupport
import Testing

@testable import Benchmarks

@Suite struct CumulativePlotTests {
  /// What a parser that knows nothing of us finds in a picture.
  private final class Elements: NSObject, XMLParserDelegate {
    var found: [(name: String, attributes: [String: String])] = []
    var text = ""

    func parser(
      _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
      attributes: [String: String]
    ) { found.append((name, attributes)) }

    func parser(_ parser: XMLParser, foundCharacters string: String) { text += string }
  }

  private func elements(of svg: String) throws -> Elements {
    let elements = Elements()
    let parser = XMLParser(data: Data(svg.utf8))
    parser.delegate = elements
    try #require(parser.parse(), "no XML: \(String(describing: parser.parserError))")
    return elements
  }

  private func curves(_ elements: Elements) -> [[String: String]] {
    elements.found.filter { $0.attributes["class"] == "curve" }.map(\.attributes)
  }

  /// The corners of a path of horizontal and vertical lines.
  private func points(_ path: String) -> [(x: Double, y: Double)] {
    var points: [(x: Double, y: Double)] = []
    for step in path.dropFirst().replacing("H", with: "\nH").replacing("V", with: "\nV").split(separator: "\n") {
      switch step.first {
      case "H": points.append((Double(step.dropFirst()) ?? .nan, points.last?.y ?? .nan))
      case "V": points.append((points.last?.x ?? .nan, Double(step.dropFirst()) ?? .nan))
      default:
        let numbers = step.split(separator: " ").compactMap { Double($0) }
        points.append((numbers.first ?? .nan, numbers.last ?? .nan))
      }
    }
    return points
  }

  @Test func hasACurveForEachSeriesAndNamesIt() throws {
    let report = SampleReport.report([
      SampleReport.item(rounds: [[10_000, 20_000], [30_000]]),
      SampleReport.item(SampleReport.subject(mechanism: "signal_mask"), rounds: [[15_000], [40_000]]),
    ])
    let found = try elements(of: report.plot(.latency, title: "T & <t>", axis: "duration").svg)
    #expect(curves(found).count == 4)
    #expect(curves(found).count { $0["stroke-dasharray"] != nil } == 2)
    #expect(Set(curves(found).compactMap { $0["stroke"] }).count == 2)
    for text in [
      "T & <t>", "duration", "cumulative share (%)", "immediate_exit, spin, 1 kicker, 1 vCPU, vmpool", "signal_mask",
      "bare C",
      "10 µs", "50 µs",
    ] { #expect(found.text.contains(text), "\(text) is missing") }
  }

  @Test func curvesRiseFromNothingToAll() throws {
    var generator = SeededGenerator(for: #function)
    let rounds = (0..<5).map { _ in (0..<400).map { _ in UInt64.random(in: 1...2_000_000, using: &generator) } }
    let found = try elements(
      of: SampleReport.report([SampleReport.item(rounds: rounds)]).plot(.latency, title: "t", axis: "a").svg)
    for curve in curves(found) {
      let points = points(curve["d"] ?? "")
      #expect(points.count > 100)
      #expect(zip(points, points.dropFirst()).allSatisfy { $0.x <= $1.x && $0.y >= $1.y })
      #expect(points.first?.y == 456)
      #expect(points.last?.y == 56)
      #expect(points.allSatisfy { 80...880 ~= $0.x })
    }
  }

  /// On a logarithmic axis the same factor is the same way.
  @Test func theAxisIsLogarithmic() throws {
    let buckets = HistogramBuckets([(1000, 1), (10_000, 1), (100_000, 1)].map { (value: $0.0, count: $0.1) })
    let plot = CumulativePlot(
      title: "t", axis: "a", series: [.init(name: "s", buckets: buckets, colour: 0, isDashed: false)])
    let points = points(curves(try elements(of: plot.svg))[0]["d"] ?? "")
    let columns = points.map(\.x)
    #expect(columns == [80, 80, 80, 480, 480, 880, 880])
  }

  @Test func survivesExtremesAndHostileNames() throws {
    let buckets = HistogramBuckets([(value: 0, count: 1), (value: .max, count: 1)])
    let plot = CumulativePlot(
      title: "\u{0}\"'<&>\u{1B}", axis: "]]>",
      series: [
        .init(name: "a", buckets: buckets, colour: 99, isDashed: false),
        .init(name: "none", buckets: HistogramBuckets([]), colour: 0, isDashed: true),
      ])
    #expect(curves(try elements(of: plot.svg)).count == 1)
    #expect(curves(try elements(of: CumulativePlot(title: "", axis: "", series: []).svg)).isEmpty)
  }
}
