/// A metric: one name, what it means, and its time series.
public struct MetricFamily: Sendable {
  /// What the numbers are.
  public enum Kind: Sendable {
    /// Only ever grows while the process lives.
    case counter
    /// Goes up and down.
    case gauge
    /// Counts of observations by size; its samples are ``MetricSample/Value/histogram(_:)``.
    case histogram
  }

  /// The name as queries spell it: a counter's ends in `_total`, a histogram's has no suffix.
  public var name: String
  /// A sentence for people.
  public var help: String
  /// What the numbers are.
  public var kind: Kind
  /// The base unit (`seconds`, `bytes`), which the name (before `_total`) then ends in; nil for a plain number.
  public var unit: String?
  /// The series; each with labels of its own.
  public var samples: [MetricSample]

  /// A family. What it must keep to is checked by ``Exposition/violations(in:)``.
  public init(name: String, help: String, kind: Kind, unit: String? = nil, samples: [MetricSample]) {
    self.name = name
    self.help = help
    self.kind = kind
    self.unit = unit
    self.samples = samples
  }
}

/// One time series at this moment.
public struct MetricSample: Sendable {
  /// What was measured.
  public enum Value: Sendable {
    case number(Double)
    case integer(UInt64)
    case histogram(HistogramSnapshot)
  }

  /// Names and values, in the order written.
  public var labels: [(String, String)]
  /// What was measured.
  public var value: Value

  /// A sample.
  public init(labels: [(String, String)] = [], value: Value) {
    self.labels = labels
    self.value = value
  }
}
