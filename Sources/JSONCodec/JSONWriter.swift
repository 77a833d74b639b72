/// JSON while it is written: one buffer that grows, and the arrays and objects that stand open at its end.
///
/// A value is written into a *slot*: the document's own, or what follows a name or a comma. Slots and containers are known
/// by their depth. Writing to a container closes all that stand open within it, so values come in the text's order.
public struct JSONWriter: ~Copyable {
  /// What a container is.
  enum Kind { case array, object }

  private var buffer: ByteBuffer
  /// Where the document begins: what stands before it is none of its business.
  private let start: Int
  /// Spaces by which each level is indented; nil for no white space.
  private let indent: Int?
  /// How many arrays and objects stand open.
  private(set) var depth = 0
  /// Bit `n` says that the container at depth `n` is an object.
  private var objects: UInt64 = 0
  /// Whether a slot was begun whose value is still to come.
  private(set) var awaitsValue = true
  /// Whether nothing was written since a container was opened.
  private var isEmpty = false

  /// A document that follows `prefix`.
  init(after prefix: [UInt8], indent: Int? = nil) {
    start = prefix.count
    buffer = ByteBuffer(capacity: start + 512)
    buffer.append(prefix)
    self.indent = indent
  }

  /// All that was written, behind what the document follows.
  var bytes: [UInt8] { buffer.bytes() }

  /// An RFC 6901 pointer to the value that is being written.
  var pointer: String { DocumentScan(buffer.bytes(from: start)).pointer(to: buffer.count - start) }
}

// Containers and slots.
extension JSONWriter {
  /// Opens the container of the slot at `slot`, or finds it open. The depth of its own slots is one more.
  mutating func open(_ kind: Kind, in slot: Int) {
    if awaitsValue, depth == slot {
      // A type that nests deeper without end would have no document at all.
      precondition(depth < 64, "a value nests deeper than 64 arrays and objects")
      buffer.append(kind == .object ? UInt8(ascii: "{") : UInt8(ascii: "["))
      if kind == .object { objects |= 1 << UInt64(depth) } else { objects &= ~(1 << UInt64(depth)) }
      depth += 1
      awaitsValue = false
      isEmpty = true
    } else {
      precondition(depth > slot, "a value is encoded after its turn")
      precondition(self.kind(at: slot) == kind, "a type encodes itself both as an array and as an object")
    }
  }

  /// Ends what stands in the slot at `slot`. A value that wrote nothing is an empty object.
  mutating func finish(_ slot: Int) {
    if awaitsValue {
      buffer.append(UInt8(ascii: "{"))
      buffer.append(UInt8(ascii: "}"))
      awaitsValue = false
    }
    while depth > slot { close() }
  }

  /// Begins the next slot of the array whose slots are at `slot`.
  mutating func beginElement(in slot: Int) {
    separate(slot)
    awaitsValue = true
  }

  /// Like the next, for a name that needs no escape.
  mutating func beginMember(_ name: StaticString) {
    separate(depth)
    buffer.append(UInt8(ascii: "\""), name, UInt8(ascii: "\""))
    colon()
  }

  /// Begins the slot of the member `name` of the object whose slots are at `slot`.
  mutating func beginMember(_ name: String, in slot: Int) {
    separate(slot)
    quote(name)
    colon()
  }

  private mutating func colon() {
    buffer.append(UInt8(ascii: ":"))
    if indent != nil { buffer.append(UInt8(ascii: " ")) }
    awaitsValue = true
  }

  private func kind(at depth: Int) -> Kind { objects & 1 << UInt64(depth) == 0 ? .array : .object }

  /// What stands between a container's values, or before its first one.
  private mutating func separate(_ slot: Int) {
    precondition(depth >= slot, "a value is encoded after its turn")
    if depth > slot || awaitsValue { finish(slot) }
    if isEmpty { isEmpty = false } else { buffer.append(UInt8(ascii: ",")) }
    if indent != nil { newLine() }
  }

  private mutating func close() {
    depth -= 1
    if isEmpty { isEmpty = false } else if indent != nil { newLine() }
    buffer.append(kind(at: depth) == .object ? UInt8(ascii: "}") : UInt8(ascii: "]"))
  }

  private mutating func newLine() {
    guard let indent else { return }
    buffer.append(UInt8(ascii: "\n"))
    for _ in 0..<depth * indent { buffer.append(UInt8(ascii: " ")) }
  }
}

// Scalars, each into the slot that was begun.
extension JSONWriter {
  mutating func putNull() { putWord("null") }

  mutating func put(_ value: Bool) { putWord(value ? "true" : "false") }

  mutating func put(_ value: String) {
    take()
    quote(value)
  }

  mutating func put(_ value: Int) {
    take()
    buffer.append(Int64(value))
  }

  mutating func put<T: FixedWidthInteger>(_ value: T) throws(JSONEncodingError) {
    guard let exact = Int64(exactly: value) else { throw JSONEncodingError(.integerOutOfRange, pointer: pointer) }
    take()
    buffer.append(exact)
  }

  /// The shortest digits that are read back as the same number.
  mutating func put<T: BinaryFloatingPoint>(_ value: T) throws(JSONEncodingError) {
    guard value.isFinite else { throw JSONEncodingError(.notFinite, pointer: pointer) }
    putWord(Double(value).description)
  }

  private mutating func take() {
    precondition(awaitsValue, "a value is encoded where one stands already")
    awaitsValue = false
  }

  private mutating func putWord(_ word: String) {
    take()
    _ = buffer.append(word)
  }

  /// A string in quotes.
  private mutating func quote(_ text: String) {
    buffer.append(UInt8(ascii: "\""))
    let plain = buffer.append(text, upTo: Self.needsEscape)
    if plain < text.utf8.count {
      for byte in text.utf8.dropFirst(plain) {
        if Self.needsEscape(byte) { escape(byte) } else { buffer.append(byte) }
      }
    }
    buffer.append(UInt8(ascii: "\""))
  }

  private static func needsEscape(_ byte: UInt8) -> Bool {
    byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
  }

  /// Parsers that keep strings as C does, jansson among them, refuse a document with a NUL, even one that is escaped: it
  /// becomes U+FFFD, as bytes that are not UTF-8 do.
  private mutating func escape(_ byte: UInt8) {
    let short: UInt8? =
      switch byte {
      case 0x08: UInt8(ascii: "b")
      case 0x09: UInt8(ascii: "t")
      case 0x0A: UInt8(ascii: "n")
      case 0x0C: UInt8(ascii: "f")
      case 0x0D: UInt8(ascii: "r")
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): byte
      default: nil
      }
    if let short {
      buffer.append(UInt8(ascii: "\\"))
      buffer.append(short)
    } else if byte == 0 {
      _ = buffer.append("\u{FFFD}")
    } else {
      _ = buffer.append((byte < 0x10 ? "\\u000" : "\\u00") + String(byte, radix: 16, uppercase: true))
    }
  }
}
