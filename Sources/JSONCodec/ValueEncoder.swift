import CJansson

/// Encodes one value into its place in the tree. It knows its parent, so the path to it is put together only where it
/// is needed.
final class ValueEncoder: Encoder {
  /// Where a value goes.
  enum Place {
    case member(of: Container, name: String)
    case element(of: Container, index: Int)
  }

  let text: TextProperties
  private let place: Place
  private let parent: ValueEncoder?
  private let key: (any CodingKey)?
  private var container: Container?
  private var isEmpty = true

  /// What the whole document needs of its text.
  final class TextProperties {
    /// How many significant digits tell every real number of the document from its neighbours. Seventeen always do,
    /// but spell 0.1 as 0.10000000000000001.
    private(set) var precision = 15

    func note(_ value: Double) {
      // Up to 15 digits come back unchanged by themselves; a shortest spelling of 16 is the nearest one, unless the
      // value is a power of two, whose neighbours stand at unequal distances.
      let digits = value.description.utf8.prefix { $0 != UInt8(ascii: "e") }.count { isDigit($0) }
      if digits > 15 { precision = max(precision, value.significandBitPattern == 0 ? 17 : min(digits, 17)) }
    }

    private func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }
  }

  /// `value` as JSON, laid out as jansson's `layout` flags say.
  static func text<T: Encodable>(of value: T, layout: Int) throws(JSONEncodingError) -> [UInt8] {
    HashSeed.set
    // The document is the one element of an array, so that it has a place like every other value.
    let root = Container(.array)
    let encoder = ValueEncoder(root: root)
    try encoder.write(value)
    let flags = layout | Int(JSON_ENCODE_ANY) | cjansson_real_precision(encoder.text.precision)
    return root.textOfFirst(flags: flags)
  }

  private init(root: Container) {
    text = TextProperties()
    place = .element(of: root, index: 0)
    parent = nil
    key = nil
  }

  /// An encoder of what `parent` has under `key`, at `place`.
  init(parent: ValueEncoder, key: any CodingKey, place: Place) {
    text = parent.text
    self.place = place
    self.parent = parent
    self.key = key
  }

  var userInfo: [CodingUserInfoKey: Any] { [:] }

  var codingPath: [any CodingKey] {
    var path: [any CodingKey] = []
    var encoder: ValueEncoder? = self
    while let current = encoder, let key = current.key {
      path.append(key)
      encoder = current.parent
    }
    return path.reversed()
  }

  /// Writes `value` to this encoder's place.
  func write<T: Encodable>(_ value: T) throws(JSONEncodingError) {
    do {
      try value.encode(to: self)
    } catch let error as JSONEncodingError {
      throw error
    } catch let error as EncodingError {
      throw encodingError(error)
    } catch {
      throw self.error(.badValue(String(describing: error)))
    }
    if isEmpty { _ = makeContainer(.object) }
    if value is any DictionaryValue, let container, container.kind == .object { container.sortMembers() }
  }

  /// An error at this value, or at the member or element `key` of it.
  func error(_ kind: JSONEncodingError.Kind, at key: (any CodingKey)? = nil) -> JSONEncodingError {
    JSONEncodingError(kind, pointer: JSONPointer.text(of: codingPath + (key.map { [$0] } ?? [])))
  }

  /// A type's own objection. Its path counts where it leads further than to this value.
  private func encodingError(_ error: EncodingError) -> JSONEncodingError {
    guard case .invalidValue(_, let context) = error else { return self.error(.badValue(String(describing: error))) }
    let own = codingPath
    let path = context.codingPath.count > own.count ? context.codingPath : own
    return JSONEncodingError(.badValue(context.debugDescription), pointer: JSONPointer.text(of: path))
  }

  private func put(_ value: consuming NewValue) {
    isEmpty = false
    switch place {
    case .member(let object, let name): object.set(name, to: value)
    case .element(let array, let index): array.set(index, to: value)
    }
  }

  /// The array or object at this place, made when first asked for.
  func makeContainer(_ kind: Container.Kind) -> Container {
    if let container {
      precondition(container.kind == kind, "a type encodes itself both as an array and as an object")
      return container
    }
    let made = Container(kind)
    put(made.reference)
    container = made
    return made
  }

  func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
    KeyedEncodingContainer(MemberEncoder<Key>(self, object: makeContainer(.object)))
  }

  func unkeyedContainer() -> any UnkeyedEncodingContainer { ElementEncoder(self, array: makeContainer(.array)) }

  func singleValueContainer() -> any SingleValueEncodingContainer { self }
}

extension ValueEncoder: SingleValueEncodingContainer {
  func encodeNil() throws { put(.null) }

  func encode(_ value: Bool) throws { put(.boolean(value)) }

  func encode(_ value: String) throws { put(.string(value)) }

  func encode<T: BinaryFloatingPoint & Encodable>(_ value: T) throws { put(try real(value)) }

  func encode<T: FixedWidthInteger & Encodable>(_ value: T) throws { put(try integer(value)) }

  func encode<T: Encodable>(_ value: T) throws { try write(value) }

  /// The integer to put at this value's place, or under `key`.
  func integer<T: FixedWidthInteger>(
    _ value: T, at key: @autoclosure () -> (any CodingKey)? = nil
  ) throws(JSONEncodingError) -> NewValue {
    guard let exact = Int64(exactly: value) else { throw error(.integerOutOfRange, at: key()) }
    return .integer(exact)
  }

  /// The number to put at this value's place, or under `key`.
  func real<T: BinaryFloatingPoint>(
    _ value: T, at key: @autoclosure () -> (any CodingKey)? = nil
  ) throws(JSONEncodingError) -> NewValue {
    guard value.isFinite else { throw error(.notFinite, at: key()) }
    let double = Double(value)
    text.note(double)
    return .real(double)
  }
}

/// Dictionaries have no order of their own: their members are sorted.
private protocol DictionaryValue {}

extension Dictionary: DictionaryValue {}
