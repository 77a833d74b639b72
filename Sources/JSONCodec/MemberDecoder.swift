/// The members of an object, by coding key.
struct MemberDecoder<Key: CodingKey>: KeyedDecodingContainerProtocol {
  private let decoder: ValueDecoder

  init(_ decoder: ValueDecoder) { self.decoder = decoder }

  var codingPath: [any CodingKey] { decoder.codingPath }

  var allKeys: [Key] { decoder.value.memberNames.compactMap(Key.init(stringValue:)) }

  func contains(_ key: Key) -> Bool { decoder.value.member(key.stringValue) != nil }

  func decodeNil(forKey key: Key) throws -> Bool { try member(key).kind == .null }

  func decode(_ type: Bool.Type, forKey key: Key) throws -> Bool {
    try scalar(key) { value throws(Mismatch) in try Scalar.boolean(value) }
  }

  func decode(_ type: String.Type, forKey key: Key) throws -> String {
    try scalar(key) { value throws(Mismatch) in try Scalar.string(value) }
  }

  func decode<T: BinaryFloatingPoint & Decodable>(_ type: T.Type, forKey key: Key) throws -> T {
    try scalar(key) { value throws(Mismatch) in try Scalar.real(value) }
  }

  func decode<T: FixedWidthInteger & Decodable>(_ type: T.Type, forKey key: Key) throws -> T {
    try scalar(key) { value throws(Mismatch) in try Scalar.integer(value) }
  }

  func decode<T: Decodable>(_ type: T.Type, forKey key: Key) throws -> T { try child(key).decode(type) }

  func nestedContainer<Nested: CodingKey>(
    keyedBy type: Nested.Type, forKey key: Key
  ) throws -> KeyedDecodingContainer<Nested> {
    try child(key).container(keyedBy: type)
  }

  func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
    try child(key).unkeyedContainer()
  }

  func superDecoder() throws -> any Decoder { try child(SuperKey()) }

  func superDecoder(forKey key: Key) throws -> any Decoder { try child(key) }

  private func member(_ key: any CodingKey) throws(JSONDecodingError) -> JSONValue {
    guard let value = decoder.value.member(key.stringValue) else { throw decoder.error(.missingMember, at: key) }
    return value
  }

  private func child(_ key: any CodingKey) throws(JSONDecodingError) -> ValueDecoder {
    ValueDecoder(try member(key), parent: decoder, key: key)
  }

  private func scalar<T>(_ key: Key, _ read: (JSONValue) throws(Mismatch) -> T) throws(JSONDecodingError) -> T {
    let value = try member(key)
    do throws(Mismatch) { return try read(value) } catch { throw decoder.error(error.kind, at: key) }
  }
}
