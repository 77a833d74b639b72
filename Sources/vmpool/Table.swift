/// Rows under headers, in aligned columns.
struct Table {
  /// On which side a column's values stand.
  enum Alignment { case left, right }

  /// A column's header and alignment.
  struct Column {
    var title: String
    var alignment: Alignment

    init(_ title: String, _ alignment: Alignment = .left) {
      self.title = title
      self.alignment = alignment
    }
  }

  private let columns: [Column]
  private var rows: [[String]] = []

  init(_ columns: [Column]) { self.columns = columns }

  /// A row with a value for each column; one that is empty shows as `-`.
  mutating func add(_ values: [String]) {
    precondition(values.count == columns.count)
    rows.append(values.map { $0.isEmpty ? "-" : printable($0) })
  }

  /// The lines, without a newline after the last.
  var text: String {
    let lines = [columns.map(\.title)] + rows
    let widths = columns.indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
    return lines.map { line in
      let cells = columns.indices.map { padded(line[$0], to: widths[$0], columns[$0].alignment) }
      let text = cells.joined(separator: "  ")
      // No blanks at the end of a line.
      return String(text[...(text.lastIndex { $0 != " " } ?? text.startIndex)])
    }.joined(separator: "\n")
  }

  private func padded(_ value: String, to width: Int, _ alignment: Alignment) -> String {
    let padding = String(repeating: " ", count: width - value.count)
    return alignment == .left ? value + padding : padding + value
  }
}

/// Names and values, one a line, the values aligned.
func properties(_ pairs: [(name: String, value: String)]) -> String {
  let width = pairs.map(\.name.count).max() ?? 0
  return pairs.map { pair in
    pair.name + ":" + String(repeating: " ", count: width - pair.name.count + 1) + printable(pair.value)
  }.joined(separator: "\n")
}

/// The text with control characters made visible, so that what a server says cannot drive the terminal.
func printable(_ text: String) -> String {
  var result = ""
  for scalar in text.unicodeScalars {
    switch scalar.value {
    case 0..<0x20, 0x7F..<0xA0: result += "\\u{\(String(scalar.value, radix: 16))}"
    default: result.unicodeScalars.append(scalar)
    }
  }
  return result
}
