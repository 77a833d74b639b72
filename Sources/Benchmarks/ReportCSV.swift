extension BenchmarkReport {
  /// The report as CSV (RFC 4180), with each figure on a line of its own: durations in nanoseconds, counts, and ratios with
  /// their spread over rounds. It ends with a newline.
  public var csv: String {
    var rows = [
      [
        "benchmark", "version", "kernel", "mechanism", "guest", "kickers", "vcpus", "memory_mib", "dirty_pages", "side",
        "figure", "statistic", "value",
      ]
    ]
    for item in cases {
      let subject = item.subject
      let head = [
        benchmark, version, host.kernel, subject.mechanism, subject.guest, "\(subject.kickers)", "\(subject.vcpus)",
        subject.memoryMiB.map(String.init) ?? "", subject.dirtyPages.map(String.init) ?? "",
      ]
      for (name, side) in [("bare", item.bare), ("vmpool", item.vmpool)] {
        for (figure, distribution) in side.durations.sorted(by: { $0.key < $1.key }) {
          for (statistic, value) in distribution.statistics {
            rows.append(head + [name, "\(figure)_ns", statistic, "\(value)"])
          }
        }
        for (what, number) in side.counts.sorted(by: { $0.key < $1.key }) {
          rows.append(head + [name, what, "count", "\(number)"])
        }
      }
      for (name, spread) in item.ratios.sorted(by: { $0.key < $1.key }) {
        for (statistic, value) in spread.statistics { rows.append(head + ["ratio", name, statistic, "\(value)"]) }
      }
    }
    return rows.map { $0.map(Self.field).joined(separator: ",") + "\r\n" }.joined()
  }

  private static func field(_ text: String) -> String {
    // By scalars: as a character, CR LF is neither CR nor LF.
    guard text.unicodeScalars.contains(where: { [",", "\"", "\r", "\n"].contains($0) }) else { return text }
    let doubled = text.unicodeScalars.map { $0 == "\"" ? "\"\"" : String($0) }.joined()
    return "\"\(doubled)\""
  }
}

extension Distribution {
  fileprivate var statistics: [(String, UInt64)] {
    [("count", UInt64(count)), ("p50", p50), ("p90", p90), ("p99", p99), ("p99.9", p999), ("max", max)]
  }
}

extension Spread {
  fileprivate var statistics: [(String, Double)] {
    [
      ("median", median), ("lower_quartile", lowerQuartile), ("upper_quartile", upperQuartile), ("min", min),
      ("max", max),
    ]
  }
}
