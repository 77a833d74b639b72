/// A value is not what it should be.
struct Mismatch: Error {
  let kind: JSONDecodingError.Kind

  init(_ kind: JSONDecodingError.Kind) { self.kind = kind }
}

/// Reads scalars out of values, strictly.
enum Scalar {
  static func boolean(_ value: JSONValue) throws(Mismatch) -> Bool {
    guard let boolean = value.boolean else { throw Mismatch(.wrongType(expected: "true or false", found: value.noun)) }
    return boolean
  }

  static func string(_ value: JSONValue) throws(Mismatch) -> String {
    guard let string = value.string else { throw Mismatch(.wrongType(expected: "a string", found: value.noun)) }
    return string
  }

  /// As JSON Schema has it, 420.0 and 4.2e2 are integers.
  static func integer<T: FixedWidthInteger>(_ value: JSONValue) throws(Mismatch) -> T {
    guard let integer = value.kind == .real ? try integral(value) : value.integer else {
      throw Mismatch(.wrongType(expected: "an integer", found: value.noun))
    }
    guard let exact = T(exactly: integer) else { throw Mismatch(.outOfRange) }
    return exact
  }

  /// The integer that a real is; nil where it is none. From 2^53 on neighbours share a `Double`, so that which
  /// was meant is lost.
  private static func integral(_ value: JSONValue) throws(Mismatch) -> Int64? {
    guard let number = value.number, number.rounded(.towardZero) == number else { return nil }
    guard number.magnitude < 0x1p53 else { throw Mismatch(.outOfRange) }
    return Int64(number)
  }

  static func real<T: BinaryFloatingPoint>(_ value: JSONValue) throws(Mismatch) -> T {
    guard let number = value.number else { throw Mismatch(.wrongType(expected: "a number", found: value.noun)) }
    let nearest = T(number)
    guard nearest.isFinite else { throw Mismatch(.outOfRange) }
    return nearest
  }
}

extension JSONValue {
  /// What it is, for people.
  var noun: String {
    switch kind {
    case .null: "null"
    case .boolean: "a boolean"
    case .integer: "an integer"
    case .real: "a number with a fraction or exponent"
    case .string: "a string"
    case .array: "an array"
    case .object: "an object"
    }
  }
}
