/// Writes families into one buffer.
struct ExpositionWriter {
  private var bytes: [UInt8] = []
  private let format: Exposition.Format
  /// The bounds written last, and their spellings: mostly the next histogram's too.
  private var bounds: [UInt64] = []
  private var spelledBounds: [[UInt8]] = []

  init(format: Exposition.Format, expecting families: [MetricFamily]) {
    self.format = format
    let lines = families.reduce(0) { $0 + 3 + $1.samples.count * ($1.kind == .histogram ? 24 : 1) }
    bytes.reserveCapacity(lines * 96)
  }

  /// The text, once every family is written.
  consuming func finish() -> [UInt8] {
    if format == .openMetrics { append("# EOF\n") }
    return bytes
  }

  mutating func write(_ family: MetricFamily) {
    writeHead(family)
    for sample in family.samples {
      switch sample.value {
      case .number(let number):
        writeSeries(family.name, sample.labels)
        append(number)
        appendByte("\n")
      case .integer(let integer):
        writeSeries(family.name, sample.labels)
        append(integer)
        appendByte("\n")
      case .histogram(let snapshot): write(snapshot, family.name, sample.labels)
      }
    }
  }

  private mutating func writeHead(_ family: MetricFamily) {
    // In OpenMetrics a counter's family has no suffix, its series has; in the older format both have.
    let isBare = format == .openMetrics && family.kind == .counter && family.name.hasSuffix("_total")
    let name = isBare ? String(family.name.dropLast("_total".utf8.count)) : family.name
    append("# HELP ")
    append(name)
    appendByte(" ")
    append(family.help, escapingQuotes: format == .openMetrics)
    append("\n# TYPE ")
    append(name)
    switch family.kind {
    case .counter: append(" counter\n")
    case .gauge: append(" gauge\n")
    case .histogram: append(" histogram\n")
    }
    if format == .openMetrics, let unit = family.unit {
      append("# UNIT ")
      append(name)
      appendByte(" ")
      append(unit)
      appendByte("\n")
    }
  }

  private mutating func writeSeries(_ name: String, _ labels: [(String, String)]) {
    append(name)
    if !labels.isEmpty {
      appendByte("{")
      append(labels)
      appendByte("}")
    }
    appendByte(" ")
  }

  private mutating func append(_ labels: [(String, String)]) {
    var isFirst = true
    for (name, value) in labels {
      if !isFirst { appendByte(",") }
      isFirst = false
      append(name)
      append("=\"")
      append(value, escapingQuotes: true)
      appendByte("\"")
    }
  }

  private mutating func write(_ snapshot: HistogramSnapshot, _ name: String, _ labels: [(String, String)]) {
    if snapshot.bounds != bounds {
      bounds = snapshot.bounds
      spelledBounds = bounds.map(Self.seconds)
    }
    // Every bucket starts alike: written once, then copied.
    let start = bytes.count
    append(name)
    append("_bucket{")
    append(labels)
    append(labels.isEmpty ? "le=\"" : ",le=\"")
    let head = [UInt8](bytes[start...])
    bytes.removeSubrange(start...)

    var cumulated: UInt64 = 0
    for index in bounds.indices {
      cumulated &+= snapshot.counts[index]
      bytes += head
      bytes += spelledBounds[index]
      append("\"} ")
      append(cumulated)
      appendByte("\n")
    }
    cumulated &+= snapshot.counts[bounds.count]
    bytes += head
    append("+Inf\"} ")
    append(cumulated)
    appendByte("\n")

    append(name)
    writeSeries("_sum", labels)
    bytes += Self.seconds(snapshot.sumNS)
    appendByte("\n")
    append(name)
    writeSeries("_count", labels)
    append(cumulated)
    appendByte("\n")
  }

  private mutating func append(_ text: String) { bytes += text.utf8 }

  private mutating func appendByte(_ character: Unicode.Scalar) { bytes.append(UInt8(ascii: character)) }

  /// `text` without what would end its line or, where asked for, its quotes.
  private mutating func append(_ text: String, escapingQuotes: Bool) {
    let isPlain = text.utf8.allSatisfy {
      $0 != UInt8(ascii: "\\") && $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\"")
    }
    if isPlain { return append(text) }
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\\"): append("\\\\")
      case UInt8(ascii: "\n"): append("\\n")
      case UInt8(ascii: "\"") where escapingQuotes: append("\\\"")
      default: bytes.append(byte)
      }
    }
  }

  private mutating func append(_ integer: UInt64) {
    var digits = InlineArray<20, UInt8>(repeating: 0)
    var rest = integer
    var start = digits.count
    repeat {
      start -= 1
      digits[start] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
      rest /= 10
    } while rest > 0
    for index in start..<digits.count { bytes.append(digits[index]) }
  }

  private mutating func append(_ number: Double) {
    if number.isNaN {
      append("NaN")
    } else if number.isInfinite {
      append(number < 0 ? "-Inf" : "+Inf")
    } else {
      // The shortest text that reads back the same.
      append(number.description)
    }
  }

  /// Nanoseconds as seconds, exactly, in the one spelling that both formats' readers take for canonical: decimal from
  /// 0.0001 on, and below that with an exponent (`2.5e-06`). It is a label's value, so it never depends on the format.
  static func seconds(_ ns: UInt64) -> [UInt8] {
    if ns == 0 { return Array("0.0".utf8) }
    let isSmall = ns < 100_000
    var digits = Array(String(ns).utf8)
    if !isSmall { digits = [UInt8](repeating: UInt8(ascii: "0"), count: max(0, 10 - digits.count)) + digits }
    let exponent = digits.count - 10
    let point = isSmall ? 1 : digits.count - 9
    // A whole number of seconds keeps one zero; a mantissa needs none.
    let shortest = isSmall ? point : point + 1
    while digits.count > shortest, digits.last == UInt8(ascii: "0") { digits.removeLast() }
    if digits.count > point { digits.insert(UInt8(ascii: "."), at: point) }
    if isSmall { digits += "e-0\(-exponent)".utf8 }
    return digits
  }
}
