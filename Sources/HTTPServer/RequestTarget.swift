/// A request target in origin form, taken apart and decoded.
struct RequestTarget {
  var rawPath: String
  var segments: [String] = []
  var query: [(name: String, value: String)] = []

  /// Refuses whatever could be read in two ways further on.
  init(parsing target: [UInt8], method: String) throws(IngressError) {
    guard !target.isEmpty, target.allSatisfy(ASCII.isVisible) else {
      throw IngressError("the request target is empty or holds something other than visible ASCII")
    }
    if target == [0x2A], method == "OPTIONS" {
      rawPath = "*"
      return
    }
    guard target[0] == 0x2F else { throw IngressError("the request target does not start with a slash") }
    guard !target.contains(0x23) else { throw IngressError("the request target holds a fragment") }
    let mark = target.firstIndex(of: 0x3F) ?? target.endIndex
    rawPath = String(decoding: target[..<mark], as: UTF8.self)
    if mark > 1 {
      for segment in target[1..<mark].split(separator: 0x2F, omittingEmptySubsequences: false) {
        segments.append(try Self.segment(segment))
      }
    }
    if mark < target.endIndex { query = try Self.query(target[(mark + 1)...]) }
  }

  private static func segment(_ raw: ArraySlice<UInt8>) throws(IngressError) -> String {
    let decoded = raw.contains(0x25) ? try percentDecoded(raw) : raw
    guard !decoded.contains(where: { $0 == 0x2F || ASCII.isControl($0) }) else {
      throw IngressError("a segment of the path holds an escaped slash or control character")
    }
    if decoded.first == 0x2E, decoded.count <= 2, decoded.last == 0x2E {
      throw IngressError("the path holds a segment . or ..")
    }
    return try text(decoded)
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
