extension Exposition {
  /// What is wrong with `families` by the rules of both formats, a line each: mistakes of the code that made them,
  /// which tests look for. Names and labels are checked, and that no series appears twice.
  public static func violations(in families: [MetricFamily]) -> [String] {
    var found: [String] = []
    var names: Set<String> = []
    for family in families {
      found += familyViolations(family)
      for name in takenNames(family) where !names.insert(name).inserted {
        found.append("\(name): the name is taken twice")
      }
      var labelSets: Set<[String]> = []
      for sample in family.samples {
        found += sampleViolations(sample, of: family)
        let labels = sample.labels.map { "\($0)=\($1)" }.sorted()
        if !labelSets.insert(labels).inserted { found.append("\(family.name): the labels \(labels) appear twice") }
      }
    }
    return found
  }

  /// What a family is called, in both formats. The suffixes of a histogram's series are reserved anyway.
  private static func takenNames(_ family: MetricFamily) -> Set<String> { [family.name, bareName(family)] }

  private static func bareName(_ family: MetricFamily) -> String {
    let isCounter = family.kind == .counter && family.name.hasSuffix("_total")
    return isCounter ? String(family.name.dropLast("_total".count)) : family.name
  }

  private static func familyViolations(_ family: MetricFamily) -> [String] {
    var found: [String] = []
    let name = family.name
    if !isName(name, colons: true) { found.append("\(name): no valid name") }
    if family.help.isEmpty { found.append("\(name): no help") }
    let isTotal = name.hasSuffix("_total")
    if isTotal != (family.kind == .counter) { found.append("\(name): counters, and they alone, end in _total") }
    for suffix in ["_bucket", "_count", "_sum", "_created"] where name.hasSuffix(suffix) {
      found.append("\(name): \(suffix) is a reserved suffix")
    }
    if let unit = family.unit, !bareName(family).hasSuffix("_" + unit) {
      found.append("\(name): the name does not end in its unit \(unit)")
    }
    return found
  }

  private static func sampleViolations(_ sample: MetricSample, of family: MetricFamily) -> [String] {
    var found: [String] = []
    var names: Set<String> = []
    for (label, _) in sample.labels {
      if !isName(label, colons: false) || label.hasPrefix("__") { found.append("\(family.name): label \(label)") }
      if label == "le", family.kind == .histogram { found.append("\(family.name): le is the histogram's own label") }
      if !names.insert(label).inserted { found.append("\(family.name): label \(label) given twice") }
    }
    switch sample.value {
    case .histogram(let snapshot):
      if family.kind != .histogram { found.append("\(family.name): a histogram in a family of another kind") }
      if !zip(snapshot.bounds, snapshot.bounds.dropFirst()).allSatisfy({ $0 < $1 }) {
        found.append("\(family.name): bounds do not ascend")
      }
    case .number(let number):
      if family.kind == .histogram { found.append("\(family.name): a plain number in a histogram") }
      if family.kind == .counter, !(number >= 0 && number.isFinite) {
        found.append("\(family.name): a counter is finite and not negative")
      }
    case .integer:
      if family.kind == .histogram { found.append("\(family.name): a plain number in a histogram") }
    }
    return found
  }

  private static func isName(_ name: String, colons: Bool) -> Bool {
    for (index, byte) in name.utf8.enumerated() {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"): break
      case UInt8(ascii: "0")...UInt8(ascii: "9") where index > 0: break
      case UInt8(ascii: ":") where colons: break
      default: return false
      }
    }
    return !name.isEmpty
  }
}
