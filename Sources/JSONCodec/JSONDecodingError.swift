/// Why a document could not be decoded.
public struct JSONDecodingError: Error, Sendable, Equatable {
  /// What is wrong.
  public enum Kind: Sendable, Equatable {
    /// Not JSON, or JSON that this codec refuses; lines and columns (in characters) count from 1.
    case malformed(line: Int, column: Int, reason: String)
    /// Nested deeper than ``JSON/depthLimit``.
    case tooDeep
    /// More values than ``JSON/valueLimit``.
    case tooManyValues
    /// A string or the name of a member has a NUL in it, where many programs would cut it off.
    case nul
    /// An object has two members of one name.
    case duplicateMember
    /// An object has a member that the type does not read.
    case unknownMember
    /// A required member is absent.
    case missingMember
    /// A value of another type than the one needed; both with an article, such as `an integer`.
    case wrongType(expected: String, found: String)
    /// A number that the member cannot hold.
    case outOfRange
    /// The type's own objection, a clause without full stop.
    case badValue(String)
  }

  /// What is wrong.
  public let kind: Kind
  /// Where: an RFC 6901 JSON Pointer to the offending member, empty for the document itself. For a missing member,
  /// where it should be.
  public let pointer: String

  /// An error to throw from a type's own `init(from:)`. `DecodingError.dataCorrupted` serves as well.
  public init(_ kind: Kind, pointer: String) {
    if case .badValue(let message) = kind {
      self.kind = .badValue(message.clipped(to: 256))
    } else {
      self.kind = kind
    }
    self.pointer = pointer
  }
}

extension JSONDecodingError: CustomStringConvertible {
  /// A sentence that can stand as the detail of a problem document. It quotes at most the start of a long pointer.
  public var description: String {
    let place = pointer.isEmpty ? "the document" : pointer.clipped(to: 128)
    let subject = pointer.isEmpty ? "The document" : place
    switch kind {
    case .malformed(let line, let column, let reason):
      return "The document is not valid JSON: \(reason) (line \(line), column \(column))."
    case .tooDeep: return "The document is nested deeper than \(JSON.depthLimit) levels."
    case .tooManyValues: return "The document holds more than \(JSON.valueLimit) values."
    case .nul: return "\(subject) has a NUL (\\u0000) in it: leave the NUL out."
    case .duplicateMember: return "The member \(place) is given twice."
    case .unknownMember: return "The member \(place) is unknown: remove it or check its spelling."
    case .missingMember: return "The member \(place) is missing."
    case .wrongType(let expected, let found): return "\(subject) must be \(expected), not \(found)."
    case .outOfRange: return "\(subject) is a number out of range."
    case .badValue(let message): return "\(subject): \(message)."
    }
  }
}

extension String {
  /// At most the first `length` characters, with an ellipsis where something was cut. One character can be any number
  /// of scalars, so scalars are what is counted.
  public func clipped(to length: Int = 128) -> String {
    guard let end = unicodeScalars.index(startIndex, offsetBy: length, limitedBy: endIndex), end < endIndex else {
      return self
    }
    return String(unicodeScalars[..<end]) + "…"
  }
}
