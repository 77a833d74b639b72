/// Why a value could not be encoded.
public struct JSONEncodingError: Error, Sendable, Equatable {
  /// What is wrong.
  public enum Kind: Sendable, Equatable {
    /// A NaN or an infinity, which JSON has no spelling for.
    case notFinite
    /// An integer beyond 64 signed bits.
    case integerOutOfRange
    /// The type's own objection.
    case badValue(String)
  }

  /// What is wrong.
  public let kind: Kind
  /// Where: an RFC 6901 JSON Pointer into the document that was being written.
  public let pointer: String

  /// An error to throw from a type's own `encode(to:)`. `EncodingError.invalidValue` serves as well.
  public init(_ kind: Kind, pointer: String) {
    self.kind = kind
    self.pointer = pointer
  }
}

extension JSONEncodingError: CustomStringConvertible {
  /// A sentence for a log.
  public var description: String {
    let place = pointer.isEmpty ? "The document" : pointer
    switch kind {
    case .notFinite: return "\(place) cannot be written as JSON: it is not a finite number."
    case .integerOutOfRange: return "\(place) cannot be written as JSON: it does not fit 64 signed bits."
    case .badValue(let message): return "\(place) cannot be written as JSON: \(message)."
    }
  }
}
