/// The ingress rules: one walk over the head as libmicrohttpd parsed it, before any body.
///
/// libmicrohttpd 0.9.75 accepts bare line feeds, folded fields and NUL, and hides them: it ends every line and cuts
/// every value there. But all lines stay where they were received, one after the other, so each must begin exactly two
/// bytes, CR and LF, after the end of the line before, and the head must end where it says. One comparison a line
/// thus finds whatever was hidden. Later releases are strict themselves and may keep lines elsewhere.
struct HeadScan {
  private(set) var headers = HTTPHeaders()
  private var failure: IngressError?
  /// The address at which the next line has to begin; nil where the layout is not known.
  private var nextLine: UInt?

  private var hosts = 0
  private var lengths = 0
  private var encodings = 0
  private var isChunkedOnly = true
  private var contentLength: Int?
  private var requestID: Range<Int>?
  private var expectsContinue = false

  /// What the first callback needs to know.
  struct Outcome {
    var head: HTTPRequestHead
    var hasBody: Bool
    /// The client sends its body only after a `100 Continue`.
    var bodyWaits: Bool
  }

  /// `target` lies at `targetAddress`.
  static func outcome(
    _ mhd: MHDConnection, _ line: RequestLine, target: [UInt8], at targetAddress: UInt, _ owner: Connection
  ) throws(IngressError) -> Outcome {
    guard !line.method.isEmpty, line.method.utf8.allSatisfy(ASCII.isToken) else {
      throw IngressError("the method is not a token")
    }
    var scan = HeadScan()
    let headSize = mhd.headSize
    scan.headers.reserve(bytes: headSize)
    if owner.core.knowsHeadLayout {
      guard line.methodAddress + UInt(line.method.utf8.count) + 1 == targetAddress,
        targetAddress + UInt(target.count) + 1 == line.versionAddress
      else { throw IngressError("the request line holds a NUL or more than two spaces") }
      scan.nextLine = line.versionAddress + UInt("HTTP/1.1".utf8.count) + 2
    }
    mhd.walkFields(&scan)
    if let failure = scan.failure { throw failure }
    if let end = scan.nextLine, end + 2 != line.methodAddress + UInt(headSize) { throw Self.hiddenOctets }
    return try scan.outcome(line, target, owner)
  }

  private static let hiddenOctets = IngressError("the head holds a bare line feed, a folded field or a NUL")

  /// Takes one field; false ends the walk.
  mutating func add(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Bool {
    do throws(IngressError) {
      if let expected = nextLine {
        guard UInt(bitPattern: name.baseAddress) == expected else { throw Self.hiddenOctets }
        nextLine = UInt(bitPattern: value.baseAddress) + UInt(value.count) + 2
      }
      // SAFETY: libmicrohttpd keeps name and value for the whole request; they are copied here.
      let end = unsafe value.lastIndex { $0 != 0x20 && $0 != 0x09 }.map { $0 + 1 } ?? 0
      unsafe headers.append(name: name, value: value[..<end])
      try check(headers.fields[headers.fields.count - 1], hasTrailingSpace: end != value.count)
      return true
    } catch {
      failure = error
      return false
    }
  }

  private mutating func check(_ field: HTTPHeaders.Field, hasTrailingSpace: Bool) throws(IngressError) {
    let name = headers.bytes[field.name]
    let value = headers.bytes[field.value]
    guard !name.isEmpty, name.allSatisfy(ASCII.isToken) else {
      throw IngressError("the name of a field is not a token")
    }
    guard !value.contains(where: { ASCII.isControl($0) && $0 != 0x09 }) else {
      throw IngressError("the value of a field holds a control character")
    }
    switch name.count {
    case 4 where Self.equal(name, "host"): hosts += 1
    case 6 where Self.equal(name, "expect"): expectsContinue = Self.equal(value, "100-continue")
    case 12 where Self.equal(name, "x-request-id"): requestID = requestID ?? field.value
    case 14 where Self.equal(name, "content-length"):
      lengths += 1
      contentLength = try Self.length(value)
    case 17 where Self.equal(name, "transfer-encoding"):
      encodings += 1
      isChunkedOnly = Self.equal(value, "chunked") && !hasTrailingSpace
    default: break
    }
  }

  private consuming func outcome(
    _ line: RequestLine, _ target: [UInt8], _ owner: Connection
  ) throws(IngressError) -> Outcome {
    guard hosts <= 1 else { throw IngressError("more than one Host field") }
    guard hosts == 1 || line.isVersion10 else { throw IngressError("no Host field") }
    guard lengths <= 1 else { throw IngressError("more than one Content-Length field") }
    guard encodings <= 1 else { throw IngressError("more than one Transfer-Encoding field") }
    guard lengths == 0 || encodings == 0 else { throw IngressError("both Content-Length and Transfer-Encoding") }
    guard isChunkedOnly else { throw IngressError("a Transfer-Encoding other than chunked") }
    guard encodings == 0 || !line.isVersion10 else { throw IngressError("Transfer-Encoding in HTTP/1.0") }
    let parsed = try RequestTarget(parsing: target, method: line.method)
    let head = HTTPRequestHead(
      method: line.method, rawPath: parsed.rawPath, pathSegments: parsed.segments, query: parsed.query,
      headers: headers,
      requestID: saneRequestID() ?? owner.core.makeRequestID(), peer: owner.peer, contentLength: contentLength)
    let hasBody = encodings == 1 || (contentLength ?? 0) > 0
    return Outcome(head: head, hasBody: hasBody, bodyWaits: hasBody && expectsContinue && !line.isVersion10)
  }

  /// The client's own id if it can go into a header, a log and a JSON string as it is.
  private func saneRequestID() -> String? {
    guard let range = requestID, (1...128).contains(range.count),
      headers.bytes[range].allSatisfy({ ASCII.isVisible($0) && $0 != 0x22 && $0 != 0x5C })
    else { return nil }
    return headers.text(range)
  }

  private static func length(_ value: ArraySlice<UInt8>) throws(IngressError) -> Int {
    guard !value.isEmpty else { throw IngressError("a Content-Length that is not a number") }
    var length = 0
    for byte in value {
      guard (0x30...0x39).contains(byte) else { throw IngressError("a Content-Length that is not a number") }
      let (tenfold, overflow) = length.multipliedReportingOverflow(by: 10)
      let (sum, carry) = tenfold.addingReportingOverflow(Int(byte - 0x30))
      length = overflow || carry ? Int.max : sum
      if length == Int.max { break }
    }
    return length
  }

  /// `lowercase` is compared without regard to case.
  private static func equal(_ bytes: ArraySlice<UInt8>, _ lowercase: StaticString) -> Bool {
    lowercase.withUTF8Buffer { wanted in
      // SAFETY: a literal's bytes live for ever.
      unsafe bytes.count == wanted.count && zip(bytes, wanted).allSatisfy { ASCII.lowercase($0) == $1 }
    }
  }
}

/// What libmicrohttpd's first callback tells of the request line.
struct RequestLine {
  var method: String
  var methodAddress: UInt
  var isVersion10: Bool
  var versionAddress: UInt
}
