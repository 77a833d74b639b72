/// The ingress rules for single fields, and what they say together about where the request ends.
struct FieldRules {
  private(set) var encodings = 0
  private(set) var contentLength: Int?
  private(set) var expectsContinue = false
  /// Where the client's own id lies, if it can go into a header, a log and a JSON string as it is.
  private(set) var requestID: Range<Int>?

  private var hosts = 0
  private var lengths = 0
  private var requestIDs = 0
  private var isChunkedOnly = true
  private var singletons = Singletons()

  /// Fields of one value, which a server and a proxy could each take from another line (RFC 9110, 5.3).
  private struct Singletons: OptionSet {
    var rawValue: UInt8
    static let range = Singletons(rawValue: 1)
    static let ifRange = Singletons(rawValue: 2)
    static let contentType = Singletons(rawValue: 4)
    static let contentRange = Singletons(rawValue: 8)
    static let authorization = Singletons(rawValue: 16)
    static let idempotencyKey = Singletons(rawValue: 32)
    static let lastEventID = Singletons(rawValue: 64)
  }

  /// One field, its value without the spaces around it; `place` is where the value is kept.
  mutating func take(
    _ name: Span<UInt8>, _ value: Span<UInt8>, at place: Range<Int>, hasTrailingSpace: Bool
  ) throws(IngressError) {
    guard ASCII.isToken(name) else { throw IngressError("the name of a field is not a token") }
    guard ASCII.isValue(value) else { throw IngressError("the value of a field holds a control character") }
    switch name.count {
    case 4 where ASCII.equal(name, "host"): hosts += 1
    case 5 where ASCII.equal(name, "range"): try note(.range, "Range")
    case 6 where ASCII.equal(name, "expect"): expectsContinue = ASCII.equal(value, "100-continue")
    case 8 where ASCII.equal(name, "if-range"): try note(.ifRange, "If-Range")
    case 12 where ASCII.equal(name, "content-type"): try note(.contentType, "Content-Type")
    case 12 where ASCII.equal(name, "x-request-id"):
      requestIDs += 1
      if requestIDs == 1, Self.isSaneID(value) { requestID = place }
    case 13 where ASCII.equal(name, "authorization"): try note(.authorization, "Authorization")
    case 13 where ASCII.equal(name, "content-range"): try note(.contentRange, "Content-Range")
    case 13 where ASCII.equal(name, "last-event-id"): try note(.lastEventID, "Last-Event-ID")
    case 14 where ASCII.equal(name, "content-length"):
      lengths += 1
      contentLength = try Self.length(value)
    case 15 where ASCII.equal(name, "idempotency-key"): try note(.idempotencyKey, "Idempotency-Key")
    case 17 where ASCII.equal(name, "transfer-encoding"):
      encodings += 1
      // libmicrohttpd wants the very word, and waits for ever on any other.
      isChunkedOnly = ASCII.equal(value, "chunked") && !hasTrailingSpace
    default: break
    }
  }

  private mutating func note(_ field: Singletons, _ name: StaticString) throws(IngressError) {
    guard singletons.insert(field).inserted else { throw IngressError("more than one \(name) field") }
  }

  /// Checks the rules that concern several fields.
  func checkTogether(isVersion10: Bool) throws(IngressError) {
    guard hosts <= 1 else { throw IngressError("more than one Host field") }
    guard hosts == 1 || isVersion10 else { throw IngressError("no Host field") }
    guard lengths <= 1 else { throw IngressError("more than one Content-Length field") }
    guard encodings <= 1 else { throw IngressError("more than one Transfer-Encoding field") }
    guard lengths == 0 || encodings == 0 else { throw IngressError("both Content-Length and Transfer-Encoding") }
    guard isChunkedOnly else { throw IngressError("a Transfer-Encoding other than chunked") }
    guard encodings == 0 || !isVersion10 else { throw IngressError("Transfer-Encoding in HTTP/1.0") }
  }

  private static func isSaneID(_ value: Span<UInt8>) -> Bool {
    guard (1...128).contains(value.count) else { return false }
    for index in value.indices {
      let byte = value[index]
      guard ASCII.isVisible(byte), byte != 0x22, byte != 0x5C else { return false }
    }
    return true
  }

  /// Int.max when the number does not fit.
  private static func length(_ value: Span<UInt8>) throws(IngressError) -> Int {
    guard !value.isEmpty else { throw IngressError("a Content-Length that is not a number") }
    var length = 0
    for index in value.indices {
      let byte = value[index]
      guard (0x30...0x39).contains(byte) else { throw IngressError("a Content-Length that is not a number") }
      let (tenfold, overflow) = length.multipliedReportingOverflow(by: 10)
      let (sum, carry) = tenfold.addingReportingOverflow(Int(byte - 0x30))
      if overflow || carry { return Int.max }
      length = sum
    }
    return length
  }
}
