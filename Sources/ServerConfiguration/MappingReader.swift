import APIModel

/// Reads the members of a mapping, each once, and complains of what is wrong.
struct MappingReader {
  /// The mapping's place, for messages: `pools.build`.
  let path: String
  private let members: [String: YAMLNode.Member]

  /// nil, and a complaint, if `node` is no mapping. Members that are not among `known` are complained of; without
  /// `known`, any name will do.
  init?(_ node: YAMLNode, at path: String, known: [String]? = nil, _ mistakes: inout Mistakes) {
    guard case .mapping(let pairs) = node.content else {
      if !node.isRefused {
        mistakes.add(node.position, "\(path) is \(node.kind), and must be a mapping: NAME: VALUE on each line")
      }
      return nil
    }
    self.path = path
    var members: [String: YAMLNode.Member] = [:]
    for pair in pairs {
      guard case .scalar(let name, _) = pair.key.content else {
        if !pair.key.isRefused { mistakes.add(pair.key.position, "\(pair.key.kind) is no name") }
        continue
      }
      if let first = members[name] {
        mistakes.add(
          pair.key.position, "\(name.shown) is given twice, first in line \(first.key.position.line); keep one of them")
      } else if let known, !known.contains(name) {
        mistakes.add(pair.key.position, Self.unknown(name, in: path, known))
      } else {
        members[name] = pair
      }
    }
    self.members = members
  }

  /// All members, in the order of the file.
  var all: [(name: String, key: YAMLNode, value: YAMLNode)] {
    members.map { ($0.key, $0.value.key, $0.value.value) }.sorted { $0.key.position < $1.key.position }
  }

  func value(_ name: String) -> YAMLNode? { members[name]?.value }

  /// A whole number, in decimal.
  func number(_ name: String, in range: ClosedRange<Int>, _ mistakes: inout Mistakes) -> Int? {
    guard let node = value(name) else { return nil }
    return Self.number(node, at: "\(path).\(name)", in: range, &mistakes)
  }

  static func number(
    _ node: YAMLNode, at path: String, in range: ClosedRange<Int>, _ mistakes: inout Mistakes
  ) -> Int? {
    let wanted = "write a whole number from \(range.lowerBound) to \(range.upperBound)"
    guard case .scalar(let text, let isPlain) = node.content else {
      if !node.isRefused { mistakes.add(node.position, "\(path) is \(node.kind), and must be a number; \(wanted)") }
      return nil
    }
    guard isPlain, isDecimal(text) else {
      let what = isPlain ? node.kind : "text in quotes"
      mistakes.add(node.position, "\(path) is \(what), and must be a number; \(wanted)")
      return nil
    }
    // What does not fit an Int is out of range all the more.
    guard let number = Int(text), range.contains(number) else {
      mistakes.add(node.position, "\(path) is \(text.shown), which is out of range; \(wanted)")
      return nil
    }
    return number
  }

  /// Digits, perhaps after a minus, and no 0 in front: that means octal to some.
  private static func isDecimal(_ text: String) -> Bool {
    let digits = text.utf8.drop { $0 == UInt8(ascii: "-") && text.utf8.first == $0 }
    guard let first = digits.first, digits.count + 1 >= text.utf8.count else { return false }
    guard digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return false }
    return first != UInt8(ascii: "0") || digits.count == 1
  }

  func boolean(_ name: String, _ mistakes: inout Mistakes) -> Bool? {
    guard let node = value(name), !node.isRefused else { return nil }
    if case .scalar(let text, isPlain: true) = node.content {
      if ["true", "True", "TRUE"].contains(text) { return true }
      if ["false", "False", "FALSE"].contains(text) { return false }
    }
    mistakes.add(node.position, "\(path).\(name) is \(node.kind), and must be true or false")
    return nil
  }

  /// One of the words of an enumeration.
  func word<Word: CaseIterable & RawRepresentable<String>>(
    _ name: String, of type: Word.Type = Word.self, _ mistakes: inout Mistakes
  ) -> Word? {
    guard let node = value(name) else { return nil }
    return Self.word(node, at: "\(path).\(name)", of: type, &mistakes)
  }

  static func word<Word: CaseIterable & RawRepresentable<String>>(
    _ node: YAMLNode, at path: String, of type: Word.Type, _ mistakes: inout Mistakes
  ) -> Word? {
    guard !node.isRefused else { return nil }
    if case .scalar(let text, _) = node.content, let word = Word(rawValue: text) { return word }
    let found = if case .scalar(let text, _) = node.content, !node.isNull { text.shown } else { node.kind }
    mistakes.add(node.position, "\(path) is \(found); write \(Word.words)")
    return nil
  }

  /// The elements of a list, each with its place for messages: `access.unix[0]`. None where it is left out. `atLeast`: 0 or 1.
  func list(
    _ name: String, atLeast least: Int = 0, _ mistakes: inout Mistakes
  ) -> [(node: YAMLNode, path: String)] {
    guard let node = value(name), !node.isRefused else { return [] }
    guard case .sequence(let elements) = node.content, elements.count >= least else {
      let found = if case .sequence = node.content { "an empty list" } else { node.kind }
      let wanted = least == 0 ? "a list" : "a list of at least one"
      mistakes.add(node.position, "\(path).\(name) is \(found), and must be \(wanted): [A, B]")
      return []
    }
    return elements.enumerated().map { (node: $1, path: "\(path).\(name)[\($0)]") }
  }

  /// Text of so many bytes; without quotes it must not mean something else.
  func text(_ name: String, bytes: ClosedRange<Int>, _ mistakes: inout Mistakes) -> String? {
    guard let node = value(name) else { return nil }
    let isOther = { (text: String) in
      node.isNull || Double(text) != nil || ["true", "false"].contains(text.lowercased())
    }
    guard case .scalar(let text, let isPlain) = node.content, !isPlain || !isOther(text) else {
      if !node.isRefused {
        mistakes.add(node.position, "\(path).\(name) is \(node.kind), and must be text; put it in quotes")
      }
      return nil
    }
    guard bytes.contains(text.utf8.count) else {
      mistakes.add(
        node.position,
        "\(path).\(name) has \(text.utf8.count) bytes; write \(bytes.lowerBound) to \(bytes.upperBound)")
      return nil
    }
    return text
  }

  /// What to do where a name is none.
  static let nameAdvice = "write " + PoolRules.nameRule

  /// The name of a pool or an image.
  func resourceName(_ name: String, _ mistakes: inout Mistakes) -> String? {
    guard let node = value(name) else { return nil }
    guard case .scalar(let text, _) = node.content, !node.isNull else {
      if !node.isRefused { mistakes.add(node.position, "\(path).\(name) is \(node.kind), and must be a name") }
      return nil
    }
    guard PoolRules.isName(text) else {
      mistakes.add(node.position, "\(path).\(name) is \(text.shown), which is no name; \(Self.nameAdvice)")
      return nil
    }
    return text
  }

  private static func unknown(_ name: String, in path: String, _ known: [String]) -> String {
    let message = "\(path.isEmpty ? "" : path + ".")\(name.shown) is not known"
    let near = known.map { ($0, distance(name, $0)) }.filter { $0.1 <= 2 && $0.1 < $0.0.count / 2 + 1 }
    if let best = near.min(by: { $0.1 < $1.1 }) { return message + "; did you mean \(best.0)?" }
    return message + "; known are \(known.joined(separator: ", "))"
  }

  /// How many characters must be inserted, left out or changed to make one of the other; 3 means more than 2.
  private static func distance(_ one: String, _ other: String) -> Int {
    let (a, b) = (Array(one.unicodeScalars), Array(other.unicodeScalars))
    guard abs(a.count - b.count) <= 2 else { return 3 }
    var row = Array(0...b.count)
    for (i, character) in a.enumerated() {
      var diagonal = row[0]
      row[0] = i + 1
      for j in b.indices {
        let changed = diagonal + (character == b[j] ? 0 : 1)
        diagonal = row[j + 1]
        row[j + 1] = min(changed, diagonal + 1, row[j] + 1)
      }
    }
    return row[b.count]
  }
}
