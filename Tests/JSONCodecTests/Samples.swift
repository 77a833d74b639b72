import JSONCodec

/// A document with every kind of member.
struct Sample: Codable, Equatable {
  var name: String
  var count: Int
  var small: UInt8
  var total: UInt64
  var ratio: Double
  var isReady: Bool
  var note: String?
  var limit: Int?
  var inner: Inner?
  var list: [Inner]
  var counts: [String: UInt64]
  var mode: Mode

  struct Inner: Codable, Equatable {
    var id: Int
    var tags: [String]
  }

  enum Mode: String, Codable { case real16, long64 }

  enum CodingKeys: String, CodingKey {
    case name, count, small, total, ratio, note, limit, inner, list, counts, mode
    case isReady = "is_ready"
  }

  static let full = Sample(
    name: "a", count: -1, small: 255, total: 9_223_372_036_854_775_807, ratio: 0.1, isReady: true, note: "n\u{1}\"",
    limit: 3, inner: Inner(id: 1, tags: []), list: [Inner(id: 2, tags: ["x", "é"]), Inner(id: 3, tags: [])],
    counts: ["b": 2, "a": 1, "/~": 3], mode: .long64)

  static let bare = Sample(
    name: "", count: 0, small: 0, total: 0, ratio: 0, isReady: false, note: nil, limit: nil, inner: nil, list: [],
    counts: [:], mode: .real16)
}

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

/// What decoding `document` as a `T` fails with; nil when it does not fail.
func decodingError<T: Decodable>(
  _ type: T.Type, _ document: String, unknownMembers: JSON.UnknownMembers = .refuse
) -> JSONDecodingError? {
  do {
    _ = try JSON.decode(type, from: bytes(document), unknownMembers: unknownMembers)
    return nil
  } catch {
    return error
  }
}

/// What encoding `value` fails with; nil when it does not fail.
func encodingError<T: Encodable>(_ value: T) -> JSONEncodingError? {
  do {
    _ = try JSON.encode(value)
    return nil
  } catch {
    return error
  }
}
