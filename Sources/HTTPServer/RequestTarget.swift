/// A request target in origin or absolute form (RFC 9112, 3.2), taken apart and decoded.
struct RequestTarget {
  var rawPath: String
  var segments: [String] = []
  var query: [(name: String, value: String)] = []
  /// Where the host and port of an absolute target stand; nil in origin form.
  var authority: Range<Int>?

  /// Refuses each target that two servers could read differently.
  init(parsing target: [UInt8], method: String, isSecure: Bool) throws(IngressError) {
    if target == [0x2A], method == "OPTIONS" {
      rawPath = "*"
      return
    }
    let origin: Int
    if target.first == 0x2F {
      origin = 0
    } else {
      let found = try Self.authority(of: target, behind: isSecure ? "https://" : "http://")
      authority = found
      origin = found.upperBound
      // RFC 9112, 3.2.4: so a proxy sends on what was `OPTIONS *`.
      if origin == target.count, method == "OPTIONS" {
        rawPath = "*"
        return
      }
      guard origin < target.count, target[origin] == 0x2F else {
        // An empty path is `/` (RFC 9110, 4.2.3).
        rawPath = "/"
        query = try Self.query(of: target, from: origin)
        return
      }
    }
    segments.reserveCapacity(8)
    var start = origin + 1
    var isPlain = true
    var index = start
    while index < target.count, target[index] != 0x3F {
      switch target[index] {
      case 0x2F:
        segments.append(try Self.segment(target, start..<index, isPlain))
        (start, isPlain) = (index + 1, true)
      case 0x25, 0x2E: isPlain = false
      case let byte: try Self.checkOctet(byte)
      }
      index += 1
    }
    if index > origin + 1 { segments.append(try Self.segment(target, start..<index, isPlain)) }
    rawPath = Self.plainText(target, origin..<index)
    query = try Self.query(of: target, from: index)
  }

  /// Finds the host and port of a target in absolute form. A target of another scheme than the connection's is not for this
  /// server (RFC 9110, 7.4). User information is refused, as RFC 9110, 4.2.4 advises.
  private static func authority(of target: [UInt8], behind scheme: StaticString) throws(IngressError) -> Range<Int> {
    let start = scheme.utf8CodeUnitCount
    // Safe: a static string lives for ever.
    let hasScheme =
      target.count > start && (0..<start).allSatisfy { unsafe ASCII.lowercase(target[$0]) == scheme.utf8Start[$0] }
    guard hasScheme else { throw IngressError("the request target starts neither with a slash nor with \(scheme)") }
    var end = start
    while end < target.count, target[end] != 0x2F, target[end] != 0x3F {
      guard ASCII.isHostOctet(target[end]) else {
        throw IngressError("the request target holds something other than a host and a port behind \(scheme)")
      }
      end += 1
    }
    guard end > start, target[start] != 0x3A else {
      throw IngressError("the request target has no host behind \(scheme)")
    }
    return start..<end
  }

  /// The query that begins with the question mark at `index`; none at the end of the target.
  private static func query(
    of target: [UInt8], from index: Int
  ) throws(IngressError) -> [(name: String, value: String)] {
    guard index < target.count else { return [] }
    for byte in target[index...] { try checkOctet(byte) }
    return try query(target[(index + 1)...])
  }

  private static func checkOctet(_ byte: UInt8) throws(IngressError) {
    guard ASCII.isVisible(byte), byte != 0x23 else {
      throw IngressError("the request target holds a fragment or something other than visible ASCII")
    }
  }

  private static func segment(_ target: [UInt8], _ range: Range<Int>, _ isPlain: Bool) throws(IngressError) -> String {
    isPlain ? plainText(target, range) : try segment(target[range])
  }

  private static func segment(_ raw: ArraySlice<UInt8>) throws(IngressError) -> String {
    let decoded = try percentDecoded(raw)
    guard !decoded.contains(where: { $0 == 0x2F || ASCII.isControl($0) }) else {
      throw IngressError("a segment of the path holds an escaped slash or control character")
    }
    guard !decoded.elementsEqual([0x2E]), !decoded.elementsEqual([0x2E, 0x2E]) else {
      throw IngressError("the path holds a segment . or ..")
    }
    return try text(decoded)
  }

  /// For visible ASCII.
  private static func plainText(_ bytes: [UInt8], _ range: Range<Int>) -> String {
    // Safe: the slice checks its bounds; the bytes are copied within the call.
    unsafe bytes.withUnsafeBufferPointer {
      unsafe String(decoding: UnsafeBufferPointer(rebasing: $0[range]), as: UTF8.self)
    }
  }

  private static func query(_ raw: ArraySlice<UInt8>) throws(IngressError) -> [(name: String, value: String)] {
    var members: [(name: String, value: String)] = []
    for member in raw.split(separator: 0x26) {
      let equals = member.firstIndex(of: 0x3D) ?? member.endIndex
      let value = equals < member.endIndex ? member[(equals + 1)...] : []
      members.append((try formText(member[..<equals]), try formText(value)))
    }
    return members
  }

  private static func formText(_ raw: ArraySlice<UInt8>) throws(IngressError) -> String {
    guard raw.contains(where: { $0 == 0x25 || $0 == 0x2B }) else { return try text(raw) }
    let spaced = raw.map { $0 == 0x2B ? 0x20 : $0 }
    let decoded = try percentDecoded(spaced[...])
    guard !decoded.contains(0) else { throw IngressError("the query holds an escaped NUL") }
    return try text(decoded)
  }

  private static func percentDecoded(_ raw: ArraySlice<UInt8>) throws(IngressError) -> ArraySlice<UInt8> {
    var decoded: [UInt8] = []
    decoded.reserveCapacity(raw.count)
    var index = raw.startIndex
    while index < raw.endIndex {
      guard raw[index] == 0x25 else {
        decoded.append(raw[index])
        index += 1
        continue
      }
      guard raw.endIndex - index > 2, let high = ASCII.hexDigit(raw[index + 1]),
        let low = ASCII.hexDigit(raw[index + 2])
      else { throw IngressError("the request target holds a percent sign without two hexadecimal digits") }
      decoded.append(high << 4 | low)
      index += 3
    }
    return decoded[...]
  }

  private static func text(_ bytes: ArraySlice<UInt8>) throws(IngressError) -> String {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw IngressError("the request target holds escapes that are not UTF-8")
    }
    return text
  }
}

/// An ingress rule that a request breaks, in words for its sender.
struct IngressError: Error {
  let detail: String
  init(_ detail: String) { self.detail = detail }
}
