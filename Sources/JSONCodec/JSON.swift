/// Encodes and decodes `Codable` values as JSON, strictly.
///
/// Reading refuses all that two parsers could understand differently: duplicate members, trailing data, NUL, invalid
/// UTF-8, lone surrogates, comments, a byte order mark, and integers that do not fit. All functions may be called on
/// any thread. As everywhere in Swift, running out of memory ends the process.
public enum JSON {
  /// What to do with members of an object that the decoded type has no coding key for.
  public enum UnknownMembers: Sendable {
    /// An error, for what others ask of us.
    case refuse
    /// Skip them, for what a newer server may answer.
    case ignore
  }

  /// How deep arrays and objects may be nested in a document that is decoded.
  public static let depthLimit = 32

  /// How many values a document that is decoded may hold, where an empty array or object counts twice. It takes three
  /// bytes of text and about 250 of memory: the limit keeps a hostile document from taking a hundred times its size.
  public static let valueLimit = 65_536

  /// The value that `bytes` describe.
  ///
  /// Integers may be written with a fraction of zero or an exponent, as JSON Schema has it, while they are below 2^53.
  /// A type must ask one decoder for one keyed container only, since each refuses members that it does not know.
  ///
  /// Skips members of the document itself whose names are in `passingOver`, where `type` does not know them. Clients send those
  /// back as they got them.
  ///
  /// - Throws: what is wrong, and where.
  public static func decode<T: Decodable>(
    _ type: T.Type, from bytes: [UInt8], unknownMembers: UnknownMembers = .refuse, passingOver: Set<String> = []
  ) throws(JSONDecodingError) -> T {
    let document = try Document(parsing: bytes)
    return try ValueDecoder(document.root, unknownMembers: unknownMembers, passingOver: passingOver).decode(type)
  }

  /// `value` as JSON without white space, behind the bytes given.
  ///
  /// Members stand in the order in which the type encodes them, those of a dictionary in the order of their names.
  /// Optional members that are nil are written as `null`. Every finite `Double` is read back as the same `Double`. A NUL
  /// in a string or a name becomes U+FFFD, since many parsers, ours among them, refuse it.
  ///
  /// A type encodes its members and elements in turn: it writes a nested container, or its superclass, before the next
  /// member or element.
  public static func encode<T: Encodable>(
    _ value: T, after prefix: consuming [UInt8] = []
  ) throws(JSONEncodingError) -> [UInt8] {
    try ValueEncoder.append(value, to: JSONWriter(after: prefix))
  }

  /// Like ``encode(_:after:)`` for other values, in the value's own words.
  public static func encode<T: JSONWritable>(
    _ value: T, after prefix: consuming [UInt8] = []
  ) throws(JSONEncodingError) -> [UInt8] {
    var text = JSONWriter(after: prefix)
    try value.write(to: &text)
    return text.bytes
  }

  /// Like ``encode(_:after:)``, indented by two spaces, for people; no newline at the end.
  public static func encodePretty<T: Encodable>(_ value: T) throws(JSONEncodingError) -> [UInt8] {
    try ValueEncoder.append(value, to: JSONWriter(after: [], indent: 2))
  }
}
