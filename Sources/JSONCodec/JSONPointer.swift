/// RFC 6901 JSON Pointers.
enum JSONPointer {
  /// The pointer that the keys of a coding path spell.
  static func text(of path: [any CodingKey]) -> String {
    var text = ""
    for key in path { append(key.stringValue, to: &text) }
    return text
  }

  /// Appends one reference token, escaped.
  static func append(_ token: String, to text: inout String) {
    text.unicodeScalars.append("/")
    for scalar in token.unicodeScalars {
      switch scalar {
      case "~": text += "~0"
      case "/": text += "~1"
      default: text.unicodeScalars.append(scalar)
      }
    }
  }
}

/// The place of an element in an array, as a coding key.
struct IndexKey: CodingKey {
  let index: Int

  init(_ index: Int) { self.index = index }

  init?(intValue: Int) { index = intValue }

  init?(stringValue: String) { return nil }

  var intValue: Int? { index }

  var stringValue: String { String(index) }
}

/// The member that `superEncoder()` and `superDecoder()` mean.
struct SuperKey: CodingKey {
  init() {}

  init?(intValue: Int) { return nil }

  init?(stringValue: String) { return nil }

  var intValue: Int? { nil }

  var stringValue: String { "super" }
}
