import CCurl

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
public struct APIResponse: Sendable, Equatable {
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
enum PercentEncoding {
  /// The path and its query, as it goes on the request line. The path is taken as it is.
  static func target(path: String, query: [HTTPField]) -> String {
    if query.isEmpty { return path }
    return path + "?" + query.map { encoded($0.name) + "=" + encoded($0.value) }.joined(separator: "&")
  }

  /// The text with every byte but the unreserved characters encoded: fit for a path segment or a query value.
  static func encoded(_ text: String) -> String {
    // Safe: libcurl reads as many bytes as it is given, and its own string is copied and freed here. A length of 0 has it
    // look for the terminator, which stands at once.
    let escaped = unsafe text.withCString { unsafe curl_easy_escape(nil, $0, Int32(text.utf8.count)) }
    guard let escaped = unsafe escaped else { preconditionFailure("no memory to percent-encode a text") }
    defer { unsafe curl_free(escaped) }
    return unsafe String(cString: escaped)
  }
}
