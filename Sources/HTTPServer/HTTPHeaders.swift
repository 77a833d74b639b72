/// The fields of a request's head in the order they came, looked up without regard to case.
///
/// Bytes that are not UTF-8 read as U+FFFD.
public struct HTTPHeaders: Sendable {
  /// Where a field's name and value lie in `bytes`.
  struct Field: Sendable {
    var name: Range<Int>
    var value: Range<Int>
  }

  // One buffer for all fields: most requests have several headers and nobody reads more than two or three.
  private(set) var bytes: [UInt8] = []
  private(set) var fields: [Field] = []

  /// No fields.
  public init() {}

  /// Fields in the given order; for tests and for requests made by hand.
  public init(_ pairs: [(name: String, value: String)]) {
    for pair in pairs {
      var (name, value) = pair
      // Safe: the bytes are copied within the call.
      name.withUTF8 { name in
        value.withUTF8 { unsafe append(name: UnsafeRawBufferPointer(name), value: UnsafeRawBufferPointer($0)) }
      }
    }
  }

  /// The first field of that name. Ask `list` for one that may stand in several lines.
  public subscript(name: String) -> String? {
    fields.first { matches($0, name) }.map { text($0.value) }
  }

  /// Every field of that name, in order.
  public func all(_ name: String) -> [String] {
    fields.filter { matches($0, name) }.map { text($0.value) }
  }

  /// The value of a list-based field, such as `Accept` or `If-Match`: the values of all its lines, joined by ", "
  /// (RFC 9110, 5.3). Nil without such a field.
  public func list(_ name: String) -> String? {
    var joined: String?
    for field in fields where matches(field, name) {
      let value = text(field.value)
      joined = joined.map { $0 + ", " + value } ?? value
    }
    return joined
  }

  /// All fields, in order.
  public var pairs: [(name: String, value: String)] {
    fields.map { (text($0.name), text($0.value)) }
  }

  mutating func reserve(bytes count: Int) {
    bytes.reserveCapacity(count)
    fields.reserveCapacity(8)
  }

  /// Copies both.
  mutating func append(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
    // Safe: the caller lends both buffers for the call, and their bytes are copied.
    let start = bytes.count
    unsafe bytes.append(contentsOf: name)
    let middle = bytes.count
    unsafe bytes.append(contentsOf: value)
    fields.append(Field(name: start..<middle, value: middle..<bytes.count))
  }

  /// Gives the Host field another value, or adds one.
  mutating func setHost(_ value: ArraySlice<UInt8>) {
    let start = bytes.count
    bytes += value
    let place = start..<bytes.count
    if let index = fields.firstIndex(where: { matches($0, "Host") }) {
      fields[index].value = place
    } else {
      bytes += "Host".utf8
      fields.append(Field(name: place.upperBound..<bytes.count, value: place))
    }
  }

  func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }

  private func matches(_ field: Field, _ name: String) -> Bool {
    let wanted = name.utf8.span
    let own = bytes.span.extracting(field.name)
    guard own.count == wanted.count else { return false }
    for index in own.indices where ASCII.lowercase(own[index]) != ASCII.lowercase(wanted[index]) { return false }
    return true
  }
}
