/// The elements of an array, in turn.
struct ElementEncoder: UnkeyedEncodingContainer {
  let text: SharedWriter
  /// The depth of the elements' slots.
  let slot: Int
  private(set) var count = 0

  init(text: SharedWriter, slot: Int) {
    self.text = text
    self.slot = slot
  }

  var codingPath: [any CodingKey] { [] }

  private mutating func begin() {
    text { $0.beginElement(in: slot) }
    count += 1
  }

  mutating func encodeNil() {
    begin()
    text { $0.putNull() }
  }

  mutating func encode(_ value: Bool) {
    begin()
    text { $0.put(value) }
  }

  mutating func encode(_ value: String) {
    begin()
    text { $0.put(value) }
  }

  mutating func encode<T: BinaryFloatingPoint & Encodable>(_ value: T) throws {
    begin()
    try text { json throws(JSONEncodingError) in try json.put(value) }
  }

  mutating func encode<T: FixedWidthInteger & Encodable>(_ value: T) throws {
    begin()
    try text { json throws(JSONEncodingError) in try json.put(value) }
  }

  mutating func encode<T: Encodable>(_ value: T) throws { try next().write(value) }

  mutating func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) -> KeyedEncodingContainer<Nested> {
    next().container(keyedBy: type)
  }

  mutating func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer { next().unkeyedContainer() }

  /// Must be written before the next element.
  mutating func superEncoder() -> any Encoder { next() }

  private mutating func next() -> ValueEncoder {
    begin()
    return ValueEncoder(text: text, slot: slot)
  }
}
