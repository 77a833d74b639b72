/// Bytes that grow at their end: an array without its checks at each append, which cost more than writing does.
@safe
struct ByteBuffer: ~Copyable {
  /// Has room for `capacity` bytes, of which the first `count` are initialised.
  private var start: UnsafeMutablePointer<UInt8>
  private var capacity: Int
  private(set) var count = 0

  /// An empty buffer with room for so many bytes, at least one.
  // Safe: fresh memory, freed once, by `deinit` or `grow`.
  init(capacity: Int) {
    self.capacity = max(capacity, 1)
    unsafe start = .allocate(capacity: self.capacity)
  }

  // Safe: `start` is ours, and no pointer to it is left.
  deinit { unsafe start.deallocate() }

  /// A copy of the bytes from `offset` on.
  func bytes(from offset: Int = 0) -> [UInt8] {
    precondition(0...count ~= offset)
    // Safe: these bytes are initialised, and copied before anything else happens to them.
    return unsafe Array(UnsafeBufferPointer(start: start + offset, count: count - offset))
  }

  @inline(__always)
  mutating func append(_ byte: UInt8) {
    reserve(1)
    // Safe: `reserve` has made room for it.
    unsafe start[count] = byte
    count += 1
  }

  mutating func append(_ bytes: [UInt8]) {
    reserve(bytes.count)
    // Safe: an array's elements do not overlap with this memory, which has room for them.
    unsafe bytes.withUnsafeBufferPointer { source in
      if let first = source.baseAddress { unsafe (start + count).initialize(from: first, count: source.count) }
    }
    count += bytes.count
  }

  /// Appends the text of a literal, with a byte before it and one behind.
  @inline(__always)
  mutating func append(_ first: UInt8, _ literal: StaticString, _ last: UInt8) {
    let length = literal.utf8CodeUnitCount
    reserve(length + 2)
    // Safe: `reserve` has made room for all; a literal's bytes are where it says, as many as it says.
    unsafe start[count] = first
    unsafe (start + count + 1).initialize(from: literal.utf8Start, count: length)
    unsafe start[count + length + 1] = last
    count += length + 2
  }

  /// Appends the text as UTF-8, up to the first byte that `stop` names. Returns how many bytes that were.
  @inline(__always)
  mutating func append(_ text: String, upTo stop: (UInt8) -> Bool = { _ in false }) -> Int {
    var text = text
    // Safe: `reserve` makes room for as many bytes as the text has, and `index` stays below their number.
    return text.withUTF8 { source in
      reserve(source.count)
      var index = 0
      let target = unsafe start + count
      while index < source.count {
        let byte = unsafe source[index]
        if stop(byte) { break }
        unsafe target[index] = byte
        index += 1
      }
      count += index
      return index
    }
  }

  /// Appends an integer in decimal digits.
  mutating func append(_ value: Int64) {
    // Safe: `reserve` makes room for a sign and 19 digits, which no integer exceeds.
    reserve(20)
    var rest = value.magnitude
    if value < 0 {
      unsafe start[count] = UInt8(ascii: "-")
      count += 1
    }
    var digits = 1
    var power: UInt64 = 10
    while digits < 19, rest >= power {
      digits += 1
      power *= 10
    }
    var place = count + digits
    count = place
    repeat {
      place -= 1
      unsafe start[place] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
      rest /= 10
    } while rest > 0
  }

  /// Makes room for so many bytes more.
  @inline(__always)
  private mutating func reserve(_ more: Int) {
    if capacity - count < more { grow(by: more) }
  }

  private mutating func grow(by more: Int) {
    capacity = max(capacity * 2, count + more)
    let grown = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
    // Safe: the new memory has room for all that is there, and is another's.
    unsafe grown.initialize(from: start, count: count)
    unsafe start.deallocate()
    unsafe start = grown
  }
}
