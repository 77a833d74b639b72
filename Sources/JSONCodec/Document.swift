import CJansson

/// A parsed document: owns jansson's tree, and frees it once no ``JSONValue`` of it is left.
@safe
final class Document {
  private let tree: UnsafeMutablePointer<json_t>

  /// The whole document's value.
  // Safe: the tree lives as long as this, which every value of it keeps alive.
  var root: JSONValue { unsafe JSONValue(tree, of: self) }

  init(parsing bytes: [UInt8]) throws(JSONDecodingError) {
    if bytes.isEmpty {
      throw JSONDecodingError(.malformed(line: 1, column: 1, reason: "it is empty"), pointer: "")
    }
    let scan = DocumentScan(bytes)
    try scan.checkLimits()
    var error = json_error_t()
    // Safe: the reference is fresh, and `deinit` gives it back.
    guard let tree = unsafe Self.parse(bytes[...], error: &error) else {
      throw Self.decodingError(error, scan: scan)
    }
    unsafe self.tree = tree
  }

  // Safe: the tree's only reference that this module counts.
  deinit { unsafe json_decref(tree) }

  /// The text of a string literal, quotes included; its bytes as they are where it is not a valid one.
  static func string(literal: ArraySlice<UInt8>) -> String {
    var error = json_error_t()
    // Safe: the reference is fresh and given back once, after the text was copied.
    guard let value = unsafe parse(literal, error: &error, flags: JSON_ALLOW_NUL) else {
      return String(decoding: literal, as: UTF8.self)
    }
    defer { unsafe json_decref(value) }
    return unsafe JSONValue.text(of: value) ?? String(decoding: literal, as: UTF8.self)
  }

  private static func parse(
    _ bytes: ArraySlice<UInt8>, error: inout json_error_t, flags: Int32 = 0
  ) -> UnsafeMutablePointer<json_t>? {
    HashSeed.set
    let flags = Int(JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | flags)
    // Safe: jansson reads exactly `count` bytes and keeps no pointer to them.
    return unsafe bytes.withUnsafeBytes { buffer in
      unsafe json_loadb(buffer.baseAddress, buffer.count, flags, &error)
    }
  }

  private static func decodingError(_ error: json_error_t, scan: DocumentScan) -> JSONDecodingError {
    // Safe: jansson filled the structure in; its text ends with NUL within its array.
    let code = unsafe withUnsafePointer(to: error) { unsafe json_error_code(UInt32(cjansson_error_code($0))) }
    let offset = Int(error.position)
    switch code {
    case json_error_duplicate_key: return JSONDecodingError(.duplicateMember, pointer: scan.pointer(to: offset))
    case json_error_null_character, json_error_null_byte_in_key:
      return JSONDecodingError(.nul, pointer: scan.pointer(to: offset))
    case json_error_numeric_overflow: return JSONDecodingError(.outOfRange, pointer: scan.pointer(to: offset))
    case json_error_out_of_memory: preconditionFailure("out of memory while parsing JSON")
    default:
      let (line, column) = (max(1, Int(error.line)), max(1, Int(error.column)))
      let reason = unsafe withUnsafeBytes(of: error.text) { text in
        unsafe String(decoding: text.prefix { $0 != 0 }, as: UTF8.self)
      }
      return JSONDecodingError(.malformed(line: line, column: column, reason: withoutQuotation(reason)), pointer: "")
    }
  }

  /// jansson's text without the piece of the document that it quotes, which could be anything.
  private static func withoutQuotation(_ reason: String) -> String {
    let words = reason.split(separator: " ", omittingEmptySubsequences: false)
    guard let near = words.firstIndex(of: "near") else { return reason }
    return words[..<near].joined(separator: " ")
  }
}

/// jansson's hash seed, random so that no client can craft colliding member names.
enum HashSeed {
  /// Touching it sets the seed, once in the process's life: jansson wants that done before any thread uses it.
  static let set: Void = json_object_seed(0)
}

/// A value in a ``Document``, which it keeps alive.
@safe
struct JSONValue {
  /// What JSON knows.
  enum Kind { case null, boolean, integer, real, string, array, object }

  private let document: Document
  private let pointer: UnsafeMutablePointer<json_t>

  // Safe: `pointer` belongs to `document`, whose tree never changes and lives as long as this value.
  @unsafe
  fileprivate init(_ pointer: UnsafeMutablePointer<json_t>, of document: Document) {
    self.document = document
    unsafe self.pointer = pointer
  }

  // Safe: as in init.
  var kind: Kind {
    switch unsafe cjansson_typeof(pointer) {
    case JSON_OBJECT: .object
    case JSON_ARRAY: .array
    case JSON_STRING: .string
    case JSON_INTEGER: .integer
    case JSON_REAL: .real
    case JSON_TRUE, JSON_FALSE: .boolean
    default: .null
    }
  }

  /// nil unless it is `true` or `false`.
  // Safe: as in init.
  var boolean: Bool? {
    switch unsafe cjansson_typeof(pointer) {
    case JSON_TRUE: true
    case JSON_FALSE: false
    default: nil
    }
  }

  /// nil unless it is a number without fraction and exponent.
  // Safe: as in init.
  var integer: Int64? { kind == .integer ? unsafe Int64(json_integer_value(pointer)) : nil }

  /// nil unless it is a number.
  // Safe: as in init.
  var number: Double? {
    switch kind {
    case .integer, .real: unsafe json_number_value(pointer)
    default: nil
    }
  }

  /// nil unless it is a string.
  // Safe: as in init.
  var string: String? { unsafe Self.text(of: pointer) }

  /// Number of elements; 0 unless it is an array.
  // Safe: as in init.
  var count: Int { unsafe json_array_size(pointer) }

  /// nil where there is none.
  // Safe: as in init; an element belongs to the same document.
  func element(_ index: Int) -> JSONValue? {
    guard index >= 0, let found = unsafe json_array_get(pointer, index) else { return nil }
    return unsafe JSONValue(found, of: document)
  }

  /// nil where there is none.
  // Safe: as in init; a member belongs to the same document, and jansson reads `count` bytes of the name.
  func member(_ name: String) -> JSONValue? {
    let count = name.utf8.count
    let found = unsafe name.withCString { unsafe json_object_getn(pointer, $0, count) }
    return unsafe found.map { unsafe JSONValue($0, of: document) }
  }

  /// The names of an object's members, in the document's order.
  // Safe: as in init.
  var memberNames: [String] { unsafe JSONCodec.memberNames(of: pointer) }

  // Safe: jansson says where a string is and how long; it is copied while the caller keeps the document.
  @unsafe
  fileprivate static func text(of pointer: UnsafeMutablePointer<json_t>) -> String? {
    guard let start = unsafe json_string_value(pointer) else { return nil }
    let bytes = unsafe UnsafeRawBufferPointer(start: start, count: json_string_length(pointer))
    return unsafe String(decoding: bytes, as: UTF8.self)
  }
}

/// The names of an object's members, in its order.
@unsafe
func memberNames(of object: UnsafeMutablePointer<json_t>) -> [String] {
  var names: [String] = []
  // Safe: `object` is alive during the call, and nothing changes it.
  unsafe names.reserveCapacity(json_object_size(object))
  var position = unsafe json_object_iter(object)
  while let current = unsafe position {
    // Safe: jansson says where the name is and how long; it is copied before the object can change.
    let bytes = unsafe UnsafeRawBufferPointer(
      start: json_object_iter_key(current), count: json_object_iter_key_len(current))
    unsafe names.append(String(decoding: bytes, as: UTF8.self))
    unsafe position = json_object_iter_next(object, current)
  }
  return names
}
