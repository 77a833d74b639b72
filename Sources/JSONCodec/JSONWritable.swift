/// A value that writes its own JSON, as its `Encodable` conformance would. For the most frequent answers: an encoder takes some
/// 100 ns for a member, and this a quarter of that.
public protocol JSONWritable: Encodable {
  /// Writes the value: one object.
  func write(to json: inout JSONWriter) throws(JSONEncodingError)
}

// What such a value calls.
extension JSONWriter {
  /// Writes an object: `members` calls ``member(_:_:)-(_,String)`` and its like, in turn.
  public mutating func object<E: Error>(_ members: (inout JSONWriter) throws(E) -> Void) throws(E) {
    let slot = depth
    open(.object, in: slot)
    try members(&self)
    finish(slot)
  }

  /// Writes a member that is a string.
  public mutating func member(_ name: StaticString, _ value: String) {
    beginMember(name)
    put(value)
  }

  /// Writes a member that is a string, or null.
  public mutating func member(_ name: StaticString, _ value: String?) {
    beginMember(name)
    if let value { put(value) } else { putNull() }
  }

  /// Writes a member that is true or false.
  public mutating func member(_ name: StaticString, _ value: Bool) {
    beginMember(name)
    put(value)
  }

  /// Writes a member that is an integer, or null.
  public mutating func member(_ name: StaticString, _ value: Int?) {
    beginMember(name)
    if let value { put(value) } else { putNull() }
  }

  /// Writes a member that is an integer; one above 64 signed bits is an error.
  public mutating func member(_ name: StaticString, _ value: UInt64?) throws(JSONEncodingError) {
    beginMember(name)
    if let value { try put(value) } else { putNull() }
  }

  /// Writes a member that writes itself.
  public mutating func member(_ name: StaticString, _ value: some JSONWritable) throws(JSONEncodingError) {
    beginMember(name)
    try value.write(to: &self)
  }

  /// Writes a member that is an array of what writes itself.
  public mutating func member(_ name: StaticString, _ values: [some JSONWritable]) throws(JSONEncodingError) {
    beginMember(name)
    let slot = depth
    open(.array, in: slot)
    for value in values {
      beginElement(in: slot + 1)
      try value.write(to: &self)
    }
    finish(slot)
  }

  /// Writes a member that is an object of strings, in the order of their names.
  public mutating func member(_ name: StaticString, _ values: [String: String]) {
    beginMember(name)
    object { json in
      // One needs no sorting, which takes an array.
      if values.count == 1 {
        for (name, value) in values { json.member(named: name, value) }
      } else {
        for (name, value) in values.sorted(by: { $0.key < $1.key }) { json.member(named: name, value) }
      }
    }
  }

  private mutating func member(named name: String, _ value: String) {
    beginMember(name, in: depth)
    put(value)
  }
}
