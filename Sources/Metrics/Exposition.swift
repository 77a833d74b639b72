/// Writes metrics in the formats that Prometheus reads.
public enum Exposition {
  /// A format.
  public enum Format: Sendable {
    /// Prometheus text format 0.0.4.
    case prometheusText
    /// OpenMetrics 1.0.
    case openMetrics

    /// For the `Content-Type` header.
    public var contentType: String {
      switch self {
      case .prometheusText: "text/plain; version=0.0.4; charset=utf-8"
      case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
      }
    }
  }

  /// `families` in `format`. A debug build stops at ``violations(in:)``.
  public static func text(_ families: [MetricFamily], format: Format) -> [UInt8] {
    assert(violations(in: families).isEmpty, violations(in: families).joined(separator: "; "))
    var writer = ExpositionWriter(format: format, expecting: families)
    for family in families { writer.write(family) }
    return writer.finish()
  }

  /// `families` in Prometheus text format 0.0.4.
  public static func prometheusText(_ families: [MetricFamily]) -> [UInt8] { text(families, format: .prometheusText) }

  /// `families` in OpenMetrics 1.0.
  public static func openMetrics(_ families: [MetricFamily]) -> [UInt8] { text(families, format: .openMetrics) }

  /// The format to answer an `Accept` header with. OpenMetrics where the header names it and wants it more than plain text,
  /// or as much and names it first. Otherwise 0.0.4, which every scraper and browser can read.
  public static func negotiate(accept: String?) -> Format {
    guard let accept else { return .prometheusText }
    let ranges = accept.split(separator: ",").compactMap { MediaRange($0) }
    guard let open = ranges.filter(\.isOpenMetrics).max(by: { $0.quality < $1.quality }), open.quality > 0 else {
      return .prometheusText
    }
    // The most specific range that covers plain text decides its quality.
    guard let plain = ranges.filter({ $0.plainTextRank > 0 }).max(by: { $0.plainTextRank < $1.plainTextRank }) else {
      return .openMetrics
    }
    if open.quality != plain.quality { return open.quality > plain.quality ? .openMetrics : .prometheusText }
    let first = ranges.first { $0.isOpenMetrics && $0.quality == open.quality || $0.plainTextRank > 0 }
    return first?.isOpenMetrics == true ? .openMetrics : .prometheusText
  }
}

/// One element of an `Accept` header (RFC 9110, section 12.5.1).
private struct MediaRange {
  private let type: String
  private let version: String?
  /// 0 to 1.
  let quality: Double

  /// nil where it is none, which is then as if it were not there.
  init?(_ text: Substring) {
    var parts = text.split(separator: ";", omittingEmptySubsequences: false).map(Self.trimmed)[...]
    guard let type = parts.popFirst(), !type.isEmpty else { return nil }
    var version: String?
    var quality = 1.0
    for part in parts {
      let pair = part.split(separator: "=", maxSplits: 1).map(Self.trimmed)
      guard pair.count == 2 else { continue }
      switch pair[0].lowercased() {
      case "version": version = pair[1].filter { $0 != "\"" }
      case "q":
        guard let value = Double(pair[1]), value >= 0, value <= 1 else { return nil }
        quality = value
      default: break
      }
    }
    self.type = type.lowercased()
    self.version = version
    self.quality = quality
  }

  var isOpenMetrics: Bool { type == "application/openmetrics-text" && (version == nil || version == "1.0.0") }

  /// How specifically it covers plain text 0.0.4: 0 where it does not.
  var plainTextRank: Int {
    switch type {
    case "text/plain" where version == "0.0.4": 4
    case "text/plain" where version == nil: 3
    case "text/*": 2
    case "*/*": 1
    default: 0
    }
  }

  private static func trimmed(_ text: Substring) -> String {
    let isSpace: (Character) -> Bool = { $0 == " " || $0 == "\t" }
    var text = text.drop(while: isSpace)
    while let last = text.last, isSpace(last) { text.removeLast() }
    return String(text)
  }
}
