/// Decodes one value of a document. It knows its parent, so the path to it is put together only where it is needed.
final class ValueDecoder: Decoder {
  let value: JSONValue
  let unknownMembers: JSON.UnknownMembers
  private let passedOver: Set<String>
  private let parent: ValueDecoder?
  private let key: (any CodingKey)?

  /// A decoder of a whole document.
  init(_ value: JSONValue, unknownMembers: JSON.UnknownMembers, passingOver: Set<String>) {
    self.value = value
    passedOver = passingOver
    self.unknownMembers = unknownMembers
    parent = nil
    key = nil
  }

  /// A decoder of what `parent` has under `key`.
  init(_ value: JSONValue, parent: ValueDecoder, key: any CodingKey) {
    self.value = value
    unknownMembers = parent.unknownMembers
    passedOver = []
    self.parent = parent
    self.key = key
  }

  var userInfo: [CodingUserInfoKey: Any] { [:] }

  var codingPath: [any CodingKey] {
    var path: [any CodingKey] = []
    var decoder: ValueDecoder? = self
    while let current = decoder, let key = current.key {
      path.append(key)
      decoder = current.parent
    }
    return path.reversed()
  }

  /// The value as a `T`.
  func decode<T: Decodable>(_ type: T.Type) throws(JSONDecodingError) -> T {
    do {
      return try T(from: self)
    } catch let error as JSONDecodingError {
      throw error
    } catch let error as DecodingError {
      throw decodingError(error)
    } catch {
      throw self.error(.badValue(String(describing: error)))
    }
  }

  /// An error at this value, or at the member or element `key` of it.
  func error(_ kind: JSONDecodingError.Kind, at key: (any CodingKey)? = nil) -> JSONDecodingError {
    JSONDecodingError(kind, pointer: JSONPointer.text(of: codingPath + (key.map { [$0] } ?? [])))
  }

  /// A type's own objection. Its path counts where it leads further than to this value.
  private func decodingError(_ error: DecodingError) -> JSONDecodingError {
    let (kind, path): (JSONDecodingError.Kind, [any CodingKey]) =
      switch error {
      case .keyNotFound(let key, let context): (.missingMember, context.codingPath + [key])
      case .dataCorrupted(let context), .typeMismatch(_, let context), .valueNotFound(_, let context):
        (.badValue(context.debugDescription), context.codingPath)
      @unknown default: (.badValue(String(describing: error)), [])
      }
    let own = codingPath
    return JSONDecodingError(kind, pointer: JSONPointer.text(of: path.count > own.count ? path : own))
  }

  func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
    guard value.kind == .object else { throw error(.wrongType(expected: "an object", found: value.noun)) }
    if unknownMembers == .refuse { try refuseUnknownMembers(type) }
    return KeyedDecodingContainer(MemberDecoder<Key>(self))
  }

  func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
    guard value.kind == .array else { throw error(.wrongType(expected: "an array", found: value.noun)) }
    return ElementDecoder(self)
  }

  func singleValueContainer() throws -> any SingleValueDecodingContainer { self }

  private func refuseUnknownMembers<Key: CodingKey>(_ type: Key.Type) throws(JSONDecodingError) {
    for name in value.memberNames {
      // Strings compare by canonical equivalence, members by their bytes: U+212A is no K.
      if let key = Key(stringValue: name), key.stringValue.utf8.elementsEqual(name.utf8) { continue }
      if passedOver.contains(name) { continue }
      var pointer = JSONPointer.text(of: codingPath)
      JSONPointer.append(name, to: &pointer)
      throw JSONDecodingError(.unknownMember, pointer: pointer)
    }
  }
}

extension ValueDecoder: SingleValueDecodingContainer {
  func decodeNil() -> Bool { value.kind == .null }

  func decode(_ type: Bool.Type) throws -> Bool { try scalar { value throws(Mismatch) in try Scalar.boolean(value) } }

  func decode(_ type: String.Type) throws -> String {
    try scalar { value throws(Mismatch) in try Scalar.string(value) }
  }

  func decode<T: BinaryFloatingPoint & Decodable>(_ type: T.Type) throws -> T {
    try scalar { value throws(Mismatch) in try Scalar.real(value) }
  }

  func decode<T: FixedWidthInteger & Decodable>(_ type: T.Type) throws -> T {
    try scalar { value throws(Mismatch) in try Scalar.integer(value) }
  }

  private func scalar<T>(_ read: (JSONValue) throws(Mismatch) -> T) throws(JSONDecodingError) -> T {
    do throws(Mismatch) { return try read(value) } catch { throw self.error(error.kind) }
  }
}
