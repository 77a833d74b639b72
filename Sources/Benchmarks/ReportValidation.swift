/// Why a document that decodes as a report is not one.
public struct ReportError: Error, Sendable, Equatable, CustomStringConvertible {
  /// What is wrong.
  public let description: String

  init(_ description: String) { self.description = description }
}

extension BenchmarkReport {
  /// Refuses a report that no benchmark writes. The document may come from anywhere.
  public func validate() throws(ReportError) {
    guard schema == Self.schema else { throw ReportError("its layout is not \(Self.schema)") }
    guard ["kick", "exits", "create", "clone"].contains(benchmark) else {
      throw ReportError("it is of no known benchmark")
    }
    guard Set(cases.map(\.subject)).count == cases.count else { throw ReportError("it has a case twice") }
    for (index, item) in cases.enumerated() {
      for (name, side) in [("bare", item.bare), ("vmpool", item.vmpool)] {
        for (figure, distribution) in side.durations {
          guard Figure(rawValue: figure) != nil else { throw ReportError("case \(index) has an unknown figure") }
          guard distribution.isConsistent else {
            throw ReportError("\(figure) of case \(index), \(name), contradicts itself")
          }
        }
        guard side.counts.values.allSatisfy({ $0 >= 0 }) else {
          throw ReportError("case \(index), \(name), has a negative count")
        }
      }
    }
  }
}

extension Distribution {
  /// Whether its figures can be those of one set of durations.
  fileprivate var isConsistent: Bool {
    let ascending = [p50, p90, p99, p999, max]
    return count > 0 && zip(ascending, ascending.dropFirst()).allSatisfy { $0 <= $1 } && max < 1 << 62
      && !roundP50.isEmpty && roundP50.count == roundP99.count
      && zip(roundP50, roundP99).allSatisfy { $0 <= $1 && $1 <= max }
      && histogram.counts.reduce(0, +) == UInt64(count)
  }
}
