/// What is wrong with one member of a document.
public struct DocumentMistake: Error, Sendable, Equatable, CustomStringConvertible {
  /// The member, as a JSON pointer (RFC 6901).
  public let pointer: String
  /// What is wrong with it, and what to write instead: a sentence.
  public let description: String

  /// A mistake in the member at `pointer`.
  public init(pointer: String, description: String) {
    self.pointer = pointer
    self.description = description
  }

  /// The member's path as a configuration file has it: `ready.min`.
  public var path: String { pointer.dropFirst().split(separator: "/").joined(separator: ".") }
}

/// Returns a number that a document gave, or `standard` where it gave none. Throws where the number is out of `range`.
public func checked(
  _ value: Int?, default standard: Int, in range: ClosedRange<Int>, at pointer: String
) throws(DocumentMistake) -> Int {
  guard let value else { return standard }
  guard range.contains(value) else {
    let member = pointer.dropFirst()
    throw DocumentMistake(
      pointer: pointer, description: "\(member) is \(value); give \(range.lowerBound) to \(range.upperBound).")
  }
  return value
}
