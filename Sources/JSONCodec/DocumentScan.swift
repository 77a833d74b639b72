/// Looks at a document's text without parsing it. It bounds what the parser gets, and finds what stands at an offset, which
/// the parser does not say. It scans text that is no JSON as well as can be; the parser refuses that later.
struct DocumentScan {
  /// An array or object that stands open at the offset reached.
  private enum Level {
    case array(index: Int)
    case object(name: Range<Int>?)
  }

  private let bytes: [UInt8]

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// Refuses a document that is nested too deep or holds too many values.
  func checkLimits() throws(JSONDecodingError) {
    var depth = 0
    var values = 1
    var index = 0
    while index < bytes.count {
      switch bytes[index] {
      case UInt8(ascii: "\""): index = endOfString(from: index) - 1
      case UInt8(ascii: "["), UInt8(ascii: "{"):
        depth += 1
        values += 1
        if depth > JSON.depthLimit { throw JSONDecodingError(.tooDeep, pointer: pointer(to: index)) }
      case UInt8(ascii: "]"), UInt8(ascii: "}"): depth -= 1
      case UInt8(ascii: ","): values += 1
      default: break
      }
      index += 1
    }
    // An empty array or object has counted twice, once for a first value that it does not have.
    if values > JSON.valueLimit { throw JSONDecodingError(.tooManyValues, pointer: "") }
  }

  /// A pointer to the value or member name that ends at `offset`.
  func pointer(to offset: Int) -> String {
    var levels: [Level] = []
    var index = 0
    var nameFollows = false
    while index < min(offset, bytes.count) {
      var next = index + 1
      switch bytes[index] {
      case UInt8(ascii: "\""):
        next = endOfString(from: index)
        if nameFollows, !levels.isEmpty { levels[levels.count - 1] = .object(name: index..<next) }
        nameFollows = false
      case UInt8(ascii: "["): levels.append(.array(index: 0))
      case UInt8(ascii: "{"):
        levels.append(.object(name: nil))
        nameFollows = true
      case UInt8(ascii: "]"), UInt8(ascii: "}"):
        _ = levels.popLast()
        nameFollows = false
      case UInt8(ascii: ","):
        if case .array(let element) = levels.last {
          levels[levels.count - 1] = .array(index: element + 1)
        } else {
          nameFollows = true
        }
      default: break
      }
      index = next
    }
    return text(of: levels)
  }

  private func text(of levels: [Level]) -> String {
    var text = ""
    for level in levels {
      switch level {
      case .array(let index): JSONPointer.append(String(index), to: &text)
      case .object(let name?): JSONPointer.append(Document.string(literal: bytes[name]), to: &text)
      case .object(nil): break
      }
    }
    return text
  }

  /// The offset behind the string literal that opens at `start`; the document's end when nothing closes it.
  private func endOfString(from start: Int) -> Int {
    var index = start + 1
    while index < bytes.count {
      switch bytes[index] {
      case UInt8(ascii: "\""): return index + 1
      case UInt8(ascii: "\\"): index += 2
      default: index += 1
      }
    }
    return bytes.count
  }
}
