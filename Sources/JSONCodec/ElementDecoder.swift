/// The elements of an array, in turn.
struct ElementDecoder: UnkeyedDecodingContainer {
  private let decoder: ValueDecoder
  private(set) var currentIndex = 0
  let count: Int?

  init(_ decoder: ValueDecoder) {
    self.decoder = decoder
    count = decoder.value.count
  }

  var codingPath: [any CodingKey] { decoder.codingPath }

  var isAtEnd: Bool { currentIndex == count }

  mutating func decodeNil() throws -> Bool {
    guard try element().kind == .null else { return false }
    currentIndex += 1
    return true
  }

  mutating func decode(_ type: Bool.Type) throws -> Bool {
    try scalar { value throws(Mismatch) in try Scalar.boolean(value) }
  }

  mutating func decode(_ type: String.Type) throws -> String {
    try scalar { value throws(Mismatch) in try Scalar.string(value) }
  }

  mutating func decode<T: BinaryFloatingPoint & Decodable>(_ type: T.Type) throws -> T {
    try scalar { value throws(Mismatch) in try Scalar.real(value) }
  }

  mutating func decode<T: FixedWidthInteger & Decodable>(_ type: T.Type) throws -> T {
    try scalar { value throws(Mismatch) in try Scalar.integer(value) }
  }

  mutating func decode<T: Decodable>(_ type: T.Type) throws -> T { try advancing { try $0.decode(type) } }

  mutating func nestedContainer<Nested: CodingKey>(
    keyedBy type: Nested.Type
  ) throws -> KeyedDecodingContainer<Nested> {
    try advancing { try $0.container(keyedBy: type) }
  }

  mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer {
    try advancing { try $0.unkeyedContainer() }
  }

  mutating func superDecoder() throws -> any Decoder { try advancing { $0 } }

  private func element() throws(JSONDecodingError) -> JSONValue {
    guard let value = decoder.value.element(currentIndex) else {
      throw decoder.error(.missingMember, at: IndexKey(currentIndex))
    }
    return value
  }

  /// Moves on once the element was read; one that failed stays the current one.
  private mutating func advancing<T>(_ read: (ValueDecoder) throws -> T) throws -> T {
    let result = try read(ValueDecoder(try element(), parent: decoder, key: IndexKey(currentIndex)))
    currentIndex += 1
    return result
  }

  private mutating func scalar<T>(_ read: (JSONValue) throws(Mismatch) -> T) throws(JSONDecodingError) -> T {
    let value = try element()
    do throws(Mismatch) {
      let result = try read(value)
      currentIndex += 1
      return result
    } catch {
      throw decoder.error(error.kind, at: IndexKey(currentIndex))
    }
  }
}
