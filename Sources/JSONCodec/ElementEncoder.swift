/// The elements of an array, in turn.
struct ElementEncoder: UnkeyedEncodingContainer {
  private let encoder: ValueEncoder
  private let array: Container

  init(_ encoder: ValueEncoder, array: Container) {
    self.encoder = encoder
    self.array = array
  }

  var codingPath: [any CodingKey] { encoder.codingPath }

  var count: Int { array.count }

  func encodeNil() throws { array.set(count, to: .null) }

  func encode(_ value: Bool) throws { array.set(count, to: .boolean(value)) }

  func encode(_ value: String) throws { array.set(count, to: .string(value)) }

  func encode<T: BinaryFloatingPoint & Encodable>(_ value: T) throws {
    array.set(count, to: try encoder.real(value, at: IndexKey(count)))
  }

  func encode<T: FixedWidthInteger & Encodable>(_ value: T) throws {
    array.set(count, to: try encoder.integer(value, at: IndexKey(count)))
  }

  func encode<T: Encodable>(_ value: T) throws { try child().write(value) }

  func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) -> KeyedEncodingContainer<Nested> {
    child().container(keyedBy: type)
  }

  func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer { child().unkeyedContainer() }

  func superEncoder() -> any Encoder {
    // It may be written later than its siblings, or never.
    let index = count
    array.set(index, to: .null)
    return ValueEncoder(parent: encoder, key: IndexKey(index), place: .element(of: array, index: index))
  }

  private func child() -> ValueEncoder {
    ValueEncoder(parent: encoder, key: IndexKey(count), place: .element(of: array, index: count))
  }
}
