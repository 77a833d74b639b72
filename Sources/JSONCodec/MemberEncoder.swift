/// The members of an object, by coding key. Optional members that are nil are written as `null`.
struct MemberEncoder<Key: CodingKey>: KeyedEncodingContainerProtocol {
  let text: SharedWriter
  /// The depth of the members' slots.
  let slot: Int

  var codingPath: [any CodingKey] { [] }

  func encodeNil(forKey key: Key) {
    text { $0.beginMember(key.stringValue, in: slot) }
    text { $0.putNull() }
  }

  func encode(_ value: Bool, forKey key: Key) {
    text { $0.beginMember(key.stringValue, in: slot) }
    text { $0.put(value) }
  }

  func encode(_ value: String, forKey key: Key) {
    text { $0.beginMember(key.stringValue, in: slot) }
    text { $0.put(value) }
  }

  func encode<T: BinaryFloatingPoint & Encodable>(_ value: T, forKey key: Key) throws {
    text { $0.beginMember(key.stringValue, in: slot) }
    try text { json throws(JSONEncodingError) in try json.put(value) }
  }

  func encode<T: FixedWidthInteger & Encodable>(_ value: T, forKey key: Key) throws {
    text { $0.beginMember(key.stringValue, in: slot) }
    try text { json throws(JSONEncodingError) in try json.put(value) }
  }

  func encode<T: Encodable>(_ value: T, forKey key: Key) throws { try next(key).write(value) }

  func nestedContainer<Nested: CodingKey>(
    keyedBy type: Nested.Type, forKey key: Key
  ) -> KeyedEncodingContainer<Nested> {
    next(key).container(keyedBy: type)
  }

  func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer { next(key).unkeyedContainer() }

  /// Must be written before the next member.
  func superEncoder() -> any Encoder { next(SuperKey()) }

  /// Must be written before the next member.
  func superEncoder(forKey key: Key) -> any Encoder { next(key) }

  private func next(_ key: any CodingKey) -> ValueEncoder {
    text { $0.beginMember(key.stringValue, in: slot) }
    return ValueEncoder(text: text, slot: slot)
  }
}

// One for each type, since a generic one would lose against the protocol's own, which write nothing for nil.
extension MemberEncoder {
  func encodeIfPresent(_ value: Bool?, forKey key: Key) {
    if let value { encode(value, forKey: key) } else { encodeNil(forKey: key) }
  }

  func encodeIfPresent(_ value: String?, forKey key: Key) {
    if let value { encode(value, forKey: key) } else { encodeNil(forKey: key) }
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
    if let value { try encode(value, forKey: key) } else { encodeNil(forKey: key) }
  }

  private func encodeNumberIfPresent<T: FixedWidthInteger & Encodable>(_ value: T?, _ key: Key) throws {
    if let value { try encode(value, forKey: key) } else { encodeNil(forKey: key) }
  }

  private func encodeNumberIfPresent<T: BinaryFloatingPoint & Encodable>(_ value: T?, _ key: Key) throws {
    if let value { try encode(value, forKey: key) } else { encodeNil(forKey: key) }
  }
}
