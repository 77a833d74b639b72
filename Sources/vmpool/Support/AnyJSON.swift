import JSONCodec

/// Any JSON value, for output that names members of a document.
enum AnyJSON: Codable, Equatable {
  case null
  case boolean(Bool)
  case integer(Int64)
  case real(Double)
  case string(String)
  case array([AnyJSON])
  case object([String: AnyJSON])

  /// The document as it is written to JSON.
  init(encoding document: some Encodable) throws {
    self = try JSON.decode(AnyJSON.self, from: try JSON.encode(document))
  }

  init(from decoder: any Decoder) throws {
    if let members = try? decoder.container(keyedBy: MemberName.self) {
      let pairs = try members.allKeys.map { ($0.stringValue, try members.decode(AnyJSON.self, forKey: $0)) }
      self = .object(Dictionary(uniqueKeysWithValues: pairs))
      return
    }
    if var elements = try? decoder.unkeyedContainer() {
      var values: [AnyJSON] = []
      while !elements.isAtEnd { values.append(try elements.decode(AnyJSON.self)) }
      self = .array(values)
      return
    }
    let value = try decoder.singleValueContainer()
    if value.decodeNil() {
      self = .null
    } else if let boolean = try? value.decode(Bool.self) {
      self = .boolean(boolean)
    } else if let integer = try? value.decode(Int64.self) {
      self = .integer(integer)
    } else if let real = try? value.decode(Double.self) {
      self = .real(real)
    } else {
      self = .string(try value.decode(String.self))
    }
  }

  func encode(to encoder: any Encoder) throws {
    switch self {
    case .object(let members):
      var container = encoder.container(keyedBy: MemberName.self)
      for (name, value) in members.sorted(by: { $0.key < $1.key }) {
        try container.encode(value, forKey: MemberName(stringValue: name))
      }
    case .array(let elements):
      var container = encoder.unkeyedContainer()
      for element in elements { try container.encode(element) }
    case .null:
      var container = encoder.singleValueContainer()
      try container.encodeNil()
    case .boolean(let value): try Self.encode(value, to: encoder)
    case .integer(let value): try Self.encode(value, to: encoder)
    case .real(let value): try Self.encode(value, to: encoder)
    case .string(let value): try Self.encode(value, to: encoder)
    }
  }

  private static func encode(_ value: some Encodable, to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(value)
  }

  /// The value as a template prints it: a string without quotes, null as nothing, arrays and objects as JSON.
  func text() throws -> String {
    switch self {
    case .null: ""
    case .boolean(let value): "\(value)"
    case .integer(let value): "\(value)"
    case .real(let value): "\(value)"
    case .string(let value): value
    case .array, .object: String(decoding: try JSON.encode(self), as: UTF8.self)
    }
  }

  private struct MemberName: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }

    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }
}
