/// The ingress rules: one walk over the head as libmicrohttpd parsed it, before any body.
///
/// libmicrohttpd 0.9.75 accepts bare line feeds, folded fields and NUL, and hides them: it ends every line and cuts
/// every value there. But all lines stay where they were received, one after the other. So each must begin exactly two
/// bytes, CR and LF, after the end of the line before, and the head must end where it says. One comparison a line thus
/// finds all that was hidden. 1.0 refuses what was tried of that by itself, and keeps lines elsewhere. The server starts with no other release.
struct HeadScan {
  private(set) var headers = HTTPHeaders()
  private var failure: IngressError?
  /// The address at which the next line has to begin; nil where the layout is not known.
  private var nextLine: UInt?

  private var fields = FieldRules()

  /// What comes after the head.
  struct Outcome {
    var hasBody: Bool
    /// The client sends its body only after a `100 Continue`.
    var bodyWaits: Bool
  }

  /// Fills in the head; `target` lies at `targetAddress`.
  static func read(
    _ head: inout HTTPRequestHead, _ mhd: MHDConnection, _ line: RequestLine, target: [UInt8], at targetAddress: UInt,
    _ owner: Connection
  ) throws(IngressError) -> Outcome {
    guard ASCII.isToken(line.method.utf8.span) else {
      throw IngressError("the method is not a token")
    }
    var scan = HeadScan()
    let headSize = mhd.headSize
    scan.headers.reserve(bytes: headSize)
    if owner.thread.core.reading == .inPlace {
      guard line.methodAddress + UInt(line.method.utf8.count) + 1 == targetAddress,
        targetAddress + UInt(target.count) + 1 == line.versionAddress
      else { throw IngressError("the request line holds a NUL or more than two spaces") }
      scan.nextLine = line.versionAddress + UInt("HTTP/1.1".utf8.count) + 2
    }
    mhd.walkFields(&scan)
    if let failure = scan.failure { throw failure }
    if let end = scan.nextLine, end + 2 != line.methodAddress + UInt(headSize) { throw Self.hiddenOctets }
    return try scan.fill(&head, line, target, owner)
  }

  private static let hiddenOctets = IngressError("the head holds a bare line feed, a folded field or a NUL")

  /// Takes one field; false ends the walk.
  mutating func add(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Bool {
    do throws(IngressError) {
      if let expected = nextLine {
        guard UInt(bitPattern: name.baseAddress) == expected else { throw Self.hiddenOctets }
        nextLine = UInt(bitPattern: value.baseAddress) + UInt(value.count) + 2
      }
      // Safe: libmicrohttpd keeps name and value for the whole request; they are copied here.
      let end = unsafe value.lastIndex { $0 != 0x20 && $0 != 0x09 }.map { $0 + 1 } ?? 0
      unsafe headers.append(name: name, value: UnsafeRawBufferPointer(rebasing: value[..<end]))
      fields = try fieldsWithLast(hasTrailingSpace: end != value.count)
      return true
    } catch {
      failure = error
      return false
    }
  }

  /// Not mutating, because the spans hold on to all of self.
  private func fieldsWithLast(hasTrailingSpace: Bool) throws(IngressError) -> FieldRules {
    var fields = fields
    let field = headers.fields[headers.fields.count - 1]
    let bytes = headers.bytes.span
    try fields.take(
      bytes.extracting(field.name), bytes.extracting(field.value), at: field.value, hasTrailingSpace: hasTrailingSpace)
    return fields
  }

  private mutating func fill(
    _ head: inout HTTPRequestHead, _ line: RequestLine, _ target: [UInt8], _ owner: Connection
  ) throws(IngressError) -> Outcome {
    try fields.checkTogether(isVersion10: line.isVersion10)
    let parsed = try RequestTarget(parsing: target, method: line.method, isSecure: owner.speaksTLS)
    // RFC 9112, 3.2.2: the host of an absolute target counts, and the Host field is passed over.
    if let authority = parsed.authority { headers.setHost(target[authority]) }
    head.method = line.method
    head.rawPath = parsed.rawPath
    head.pathSegments = parsed.segments
    head.query = parsed.query
    head.headers = headers
    head.requestID = fields.requestID.map { headers.text($0) } ?? owner.thread.core.makeRequestID()
    head.peer = owner.peer
    head.proof = owner.proof
    head.contentLength = fields.contentLength
    let hasBody = fields.encodings == 1 || (fields.contentLength ?? 0) > 0
    return Outcome(hasBody: hasBody, bodyWaits: hasBody && fields.expectsContinue && !line.isVersion10)
  }
}

/// The request line, as libmicrohttpd's first callback has it.
struct RequestLine {
  var method: String
  var methodAddress: UInt
  var isVersion10: Bool
  var versionAddress: UInt
}
