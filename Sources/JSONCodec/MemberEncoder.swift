/// The members of an object, by coding key. Optional members that are nil are written as `null`.
struct MemberEncoder<Key: CodingKey>: KeyedEncodingContainerProtocol {
  private let encoder: ValueEncoder
  private let object: Container

  init(_ encoder: ValueEncoder, object: Container) {
    self.encoder = encoder
    self.object = object
  }

  var codingPath: [any CodingKey] { encoder.codingPath }

  func encodeNil(forKey key: Key) throws { object.set(key.stringValue, to: .null) }

  func encode(_ value: Bool, forKey key: Key) throws { object.set(key.stringValue, to: .boolean(value)) }

  func encode(_ value: String, forKey key: Key) throws { object.set(key.stringValue, to: .string(value)) }

  func encode<T: BinaryFloatingPoint & Encodable>(_ value: T, forKey key: Key) throws {
    object.set(key.stringValue, to: try encoder.real(value, at: key))
  }

  func encode<T: FixedWidthInteger & Encodable>(_ value: T, forKey key: Key) throws {
    object.set(key.stringValue, to: try encoder.integer(value, at: key))
  }

  func encode<T: Encodable>(_ value: T, forKey key: Key) throws { try child(key).write(value) }

  func nestedContainer<Nested: CodingKey>(
    keyedBy type: Nested.Type, forKey key: Key
  ) -> KeyedEncodingContainer<Nested> {
    child(key).container(keyedBy: type)
  }

  func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer { child(key).unkeyedContainer() }

  func superEncoder() -> any Encoder { reserved(SuperKey()) }

  func superEncoder(forKey key: Key) -> any Encoder { reserved(key) }

  private func child(_ key: any CodingKey) -> ValueEncoder {
    ValueEncoder(parent: encoder, key: key, place: .member(of: object, name: key.stringValue))
  }

  /// A child that may be written later than its siblings, or never.
  private func reserved(_ key: any CodingKey) -> ValueEncoder {
    object.set(key.stringValue, to: .null)
    return child(key)
  }
}

// One for each type, since a generic one would lose against the protocol's own, which write nothing for nil.
extension MemberEncoder {
  func encodeIfPresent(_ value: Bool?, forKey key: Key) throws {
    if let value { try encode(value, forKey: key) } else { try encodeNil(forKey: key) }
  }

  func encodeIfPresent(_ value: String?, forKey key: Key) throws {
    if let value { try encode(value, forKey: key) } else { try encodeNil(forKey: key) }
  }

  func encodeIfPresent(_ value: Double?, forKey key: Key) throws { try encodeNumberIfPresent(value, key) }

  func encodeIfPresent(_ value: Float?, forKey key: Key) throws { try encodeNumberIfPresent(value, key) }

  func encodeIfPresent(_ value: Int?, forKey key: Key) throws { try encodeNumberIfPresent(value, key) }

  func encodeIfPresent(_ value: Int8?, forKey key: Key) throws { try encodeNumberIfPresent(value, key) }

  func encodeIfPresent(_ value: Int16?, forKey key: Key) throws { try encodeNumberIfPresent(value, key) }

  func encodeIfPresent(_ value: Int32?, forKey key: Key) throws { try encodeNumberIfPresent(value, key) }

  func encodeIfPresent(_ value: Int64?, forKey key: Key) throws { try encodeNumberIfPresent(value, key) }

  func encodeIfPresent(_ value: UInt?, forKey key: Key) throws { try encodeNumberIfPresent(value, key) }

  func encodeIfPresent(_ value: UInt8?, forKey key: Key) throws { try encodeNumberIfPresent(value, key) }

  func encodeIfPresent(_ value: UInt16?, forKey key: Key) throws { try encodeNumberIfPresent(value, key) }

  func encodeIfPresent(_ value: UInt32?, forKey key: Key) throws { try encodeNumberIfPresent(value, key) }

  func encodeIfPresent(_ value: UInt64?, forKey key: Key) throws { try encodeNumberIfPresent(value, key) }

  func encodeIfPresent<T: Encodable>(_ value: T?, forKey key: Key) throws {
    if let value { try encode(value, forKey: key) } else { try encodeNil(forKey: key) }
  }

  private func encodeNumberIfPresent<T: FixedWidthInteger & Encodable>(_ value: T?, _ key: Key) throws {
    if let value { try encode(value, forKey: key) } else { try encodeNil(forKey: key) }
  }

  private func encodeNumberIfPresent<T: BinaryFloatingPoint & Encodable>(_ value: T?, _ key: Key) throws {
    if let value { try encode(value, forKey: key) } else { try encodeNil(forKey: key) }
  }
}
