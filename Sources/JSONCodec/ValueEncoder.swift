/// The writer that all encoders of a document share. A class would do, if its checks did not cost more than writing.
@safe
struct SharedWriter {
  private let writer: UnsafeMutablePointer<JSONWriter>

  // Safe: kept, not used. `writer` outlives this and its copies.
  @unsafe
  init(_ writer: UnsafeMutablePointer<JSONWriter>) { unsafe self.writer = writer }

  /// Lets `body` write.
  func callAsFunction<E: Error>(_ body: (inout JSONWriter) throws(E) -> Void) throws(E) {
    // Safe: the writer is alive, and `body` starts no other writing: encoders are called when it has ended.
    try unsafe body(&writer.pointee)
  }
}

/// Encodes one value into its slot of the text.
struct ValueEncoder: Encoder {
  let text: SharedWriter
  /// The depth of the slot.
  let slot: Int

  /// Appends `value`, laid out as `text` says, and returns what was there before with it.
  static func append<T: Encodable>(_ value: T, to text: consuming JSONWriter) throws(JSONEncodingError) -> [UInt8] {
    do {
      // Safe: encoders do not outlive the call that they are made for.
      try unsafe withUnsafeMutablePointer(to: &text) { text in
        try ValueEncoder(text: unsafe SharedWriter(text), slot: 0).write(value)
      }
    } catch let error as JSONEncodingError {
      throw error
    } catch EncodingError.invalidValue(_, let context) {
      throw JSONEncodingError(.badValue(context.debugDescription), pointer: text.pointer)
    } catch {
      throw JSONEncodingError(.badValue(String(describing: error)), pointer: text.pointer)
    }
    return text.bytes
  }

  var userInfo: [CodingUserInfoKey: Any] { [:] }

  /// Always empty: an error's pointer is read from the text that stands when it is thrown.
  var codingPath: [any CodingKey] { [] }

  func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
    text { $0.open(.object, in: slot) }
    return KeyedEncodingContainer(MemberEncoder<Key>(text: text, slot: slot + 1))
  }

  func unkeyedContainer() -> any UnkeyedEncodingContainer {
    text { $0.open(.array, in: slot) }
    return ElementEncoder(text: text, slot: slot + 1)
  }

  func singleValueContainer() -> any SingleValueEncodingContainer { self }

  /// Writes `value` into the slot, and ends it.
  func write<T: Encodable>(_ value: T) throws {
    if let dictionary = value as? any NamedValues {
      try dictionary.encodeSorted(to: self)
    } else {
      try value.encode(to: self)
    }
    text { $0.finish(slot) }
  }
}

extension ValueEncoder: SingleValueEncodingContainer {
  func encodeNil() { text { $0.putNull() } }

  func encode(_ value: Bool) { text { $0.put(value) } }

  func encode(_ value: String) { text { $0.put(value) } }

  func encode<T: BinaryFloatingPoint & Encodable>(_ value: T) throws {
    try text { json throws(JSONEncodingError) in try json.put(value) }
  }

  func encode<T: FixedWidthInteger & Encodable>(_ value: T) throws {
    try text { json throws(JSONEncodingError) in try json.put(value) }
  }

  func encode<T: Encodable>(_ value: T) throws { try write(value) }
}

/// Dictionaries have no order of their own: their members are written in the order of their names.
private protocol NamedValues {
  func encodeSorted(to encoder: ValueEncoder) throws
}

extension Dictionary: NamedValues where Key: CodingKeyRepresentable, Value: Encodable {
  fileprivate func encodeSorted(to encoder: ValueEncoder) throws {
    let text = encoder.text
    text { $0.open(.object, in: encoder.slot) }
    let slot = encoder.slot + 1
    for (name, value) in map({ ($0.codingKey.stringValue, $1) }).sorted(by: { $0.0 < $1.0 }) {
      text { $0.beginMember(name, in: slot) }
      try ValueEncoder(text: text, slot: slot).write(value)
    }
  }
}
