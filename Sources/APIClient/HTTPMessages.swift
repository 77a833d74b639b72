/// A header field; names compare without regard to case.
public struct HTTPField: Sendable, Equatable {
  /// The field's name, as sent or received.
  public var name: String
  /// Its value, without surrounding blanks.
  public var value: String

  /// A field.
  public init(_ name: String, _ value: String) {
    self.name = name
    self.value = value
  }
}

/// An answer, complete.
public struct HTTPResponse: Sendable, Equatable {
  /// The status code.
  public var status: Int
  /// The header fields in the order they came.
  public var headers: [HTTPField]
  /// The body.
  public var body: [UInt8]

  /// The value of the first field of that name.
  public func header(_ name: String) -> String? {
    let wanted = name.lowercased()
    return headers.first { $0.name.lowercased() == wanted }?.value
  }
}

/// Percent-encoding (RFC 3986) of what goes into a request target.
enum RequestTarget {
  /// The path and its query, as it goes on the request line. The path is taken as it is.
  static func text(path: String, query: [HTTPField]) -> String {
    if query.isEmpty { return path }
    return path + "?" + query.map { encoded($0.name) + "=" + encoded($0.value) }.joined(separator: "&")
  }

  /// The text with every byte but the unreserved characters encoded: fit for a path segment or a query value.
  static func encoded(_ text: String) -> String {
    let hex = Array("0123456789ABCDEF".utf8)
    var bytes: [UInt8] = []
    for byte in text.utf8 {
      if isUnreserved(byte) {
        bytes.append(byte)
      } else {
        bytes += [UInt8(ascii: "%"), hex[Int(byte >> 4)], hex[Int(byte & 15)]]
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  private static func isUnreserved(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
      UInt8(ascii: "A")...UInt8(ascii: "Z"):
      true
    default: "-._~".utf8.contains(byte)
    }
  }
}
