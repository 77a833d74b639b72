/// Rows under headers, in aligned columns.
public struct Table {
  /// The side of a column on which its values stand.
  public enum Alignment {
    /// Values begin at the same place.
    case left
    /// Values end at the same place, as numbers should.
    case right
  }

  /// A column's header and layout.
  public struct Column {
    var title: String
    var alignment: Alignment
    var mayShrink: Bool

    /// A column; one that may shrink loses the ends of its values where a line is too long for the terminal.
    public init(_ title: String, alignment: Alignment = .left, mayShrink: Bool = false) {
      self.title = title
      self.alignment = alignment
      self.mayShrink = mayShrink
    }
  }

  private let columns: [Column]
  private var rows: [[String]] = []

  /// A table without rows.
  public init(_ columns: [Column]) { self.columns = columns }

  /// Appends a row with a value for each column. An empty value shows as `-`.
  public mutating func add(_ values: [String]) {
    precondition(values.count == columns.count)
    rows.append(values.map { $0.isEmpty ? "-" : printable($0) })
  }

  /// The lines, at their full width, without a newline after the last.
  public var text: String { text(width: nil) }

  /// The lines, without a newline after the last. Columns that may shrink do so until a line has at most `width`
  /// characters; nil is no limit.
  public func text(width: Int?) -> String {
    let lines = [columns.map(\.title)] + rows
    let natural = columns.indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
    let widths = width.map { shrunk(natural, to: $0) } ?? natural
    return lines.map { line in
      let cells = columns.indices.map { cell(line[$0], width: widths[$0], columns[$0].alignment) }
      let text = cells.joined(separator: "  ")
      // No blanks at the end of a line.
      return String(text[...(text.lastIndex { $0 != " " } ?? text.startIndex)])
    }.joined(separator: "\n")
  }

  /// The widest column that may shrink gives up one character at a time, but keeps eight and its header.
  private func shrunk(_ natural: [Int], to width: Int) -> [Int] {
    var widths = natural
    var excess = widths.reduce(0, +) + 2 * (widths.count - 1) - width
    while excess > 0 {
      let candidates = widths.indices.filter {
        columns[$0].mayShrink && widths[$0] > max(8, columns[$0].title.count)
      }
      guard let widest = candidates.max(by: { widths[$0] < widths[$1] }) else { break }
      widths[widest] -= 1
      excess -= 1
    }
    return widths
  }

  private func cell(_ value: String, width: Int, _ alignment: Alignment) -> String {
    if value.count > width { return value.prefix(width - 1) + "…" }
    let padding = String(repeating: " ", count: width - value.count)
    return alignment == .left ? value + padding : padding + value
  }
}

/// Names and values, one a line, the values aligned.
public func properties(_ pairs: [(name: String, value: String)]) -> String {
  let width = pairs.map(\.name.count).max() ?? 0
  return pairs.map { pair in
    pair.name + ":" + String(repeating: " ", count: width - pair.name.count + 1) + printable(pair.value)
  }.joined(separator: "\n")
}

/// The text with control characters as visible escapes, so that a server's text cannot drive the terminal.
public func printable(_ text: String) -> String {
  var result = ""
  for scalar in text.unicodeScalars {
    switch scalar.value {
    case 0..<0x20, 0x7F..<0xA0: result += "\\u{\(String(scalar.value, radix: 16))}"
    default: result.unicodeScalars.append(scalar)
    }
  }
  return result
}
