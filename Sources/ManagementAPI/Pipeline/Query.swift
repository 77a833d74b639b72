import APIModel
import Access
import Digests
import JSONCodec
import LinuxSupport

/// A request's query parameters, each known to the operation and given at most once.
struct Query: Sendable {
  private let members: [(name: String, value: String)]

  init(_ members: [(name: String, value: String)], allowed: [String]) throws(APIProblem) {
    for (place, member) in members.enumerated() {
      let name = member.name.clipped()
      guard allowed.contains(member.name) else {
        let known = allowed.isEmpty ? "none" : allowed.joined(separator: ", ")
        throw APIProblem(.invalidParameter, "The query parameter \(name) is unknown; this path takes \(known).")
      }
      guard !members[..<place].contains(where: { $0.name == member.name }) else {
        throw APIProblem(.invalidParameter, "The query parameter \(name) is given twice; give it once.")
      }
    }
    self.members = members
  }

  /// The parameter as it came; nil when it is absent.
  func text(_ name: String) -> String? { members.first { $0.name == name }?.value }

  /// A decimal number in `range`, without sign and leading zeros.
  func integer(_ name: String, in range: ClosedRange<Int64>) throws(APIProblem) -> Int64? {
    guard let text = text(name) else { return nil }
    let digits = text.utf8
    guard digits.allSatisfy({ (0x30...0x39).contains($0) }), digits.first != 0x30 || digits.count == 1,
      let value = Int64(text), range.contains(value)
    else { throw Self.invalid(name, text, "give \(range.lowerBound) to \(range.upperBound)") }
    return value
  }

  /// The name of a pool or an image.
  func resourceName(_ name: String) throws(APIProblem) -> String? {
    try text(name, as: .pool) { PoolRules.isName($0) ? $0 : nil }
  }

  /// The server's name of a pool or an image, which a page gave as the beginning of the next.
  func qualifiedName(_ name: String) throws(APIProblem) -> String? {
    try text(name, as: .pool) { text in
      let (tenant, own) = Tenant.split(text)
      return Tenant(tenant.name) != nil && PoolRules.isName(own) ? text : nil
    }
  }

  /// The digest of a blob.
  func digest(_ name: String) throws(APIProblem) -> SHA256Digest? {
    try text(name, as: .digest, SHA256Digest.init)
  }

  /// The id of a key.
  func keyID(_ name: String) throws(APIProblem) -> String? {
    try text(name, as: .key) { KeyRecord.isID($0) ? $0 : nil }
  }

  /// A time, in Unix milliseconds.
  func time(_ name: String) throws(APIProblem) -> Int? {
    guard let text = text(name) else { return nil }
    guard let time = RFC3339.milliseconds(of: text) else {
      throw Self.invalid(name, text, "give a time as of RFC 3339, such as 2025-01-31T12:00:00Z")
    }
    return Int(time)
  }

  /// Some text of at most 512 characters.
  func phrase(_ name: String) throws(APIProblem) -> String? {
    guard let text = text(name) else { return nil }
    guard (1...512).contains(text.unicodeScalars.count) else {
      throw Self.invalid(name, text, "give 1 to 512 characters")
    }
    return text
  }

  /// The name of a tenant.
  func tenant(_ name: String) throws(APIProblem) -> Tenant? {
    guard let text = text(name) else { return nil }
    guard let tenant = Tenant(text) else { throw Self.invalid(name, text, "give \(PoolRules.nameRule)") }
    return tenant
  }

  /// The id of a VM.
  func vmID(_ name: String) throws(APIProblem) -> String? { try text(name, as: .vm) { IDForm.isVMId($0) ? $0 : nil } }

  private func text<Value>(
    _ name: String, as form: PathParameter, _ read: (String) -> Value?
  ) throws(APIProblem) -> Value? {
    guard let text = text(name) else { return nil }
    guard let value = read(text) else {
      throw APIProblem(.invalidParameter, "The query parameter \(name): \(form.objection(to: text)).")
    }
    return value
  }

  /// One of several words.
  func word(_ name: String, of words: [String]) throws(APIProblem) -> String? {
    guard let text = text(name) else { return nil }
    guard words.contains(text) else { throw Self.invalid(name, text, "give \(words.joined(separator: ", "))") }
    return text
  }

  /// How many items a page may have.
  func pageLimit() throws(APIProblem) -> Int { Int(try integer("limit", in: 1...1000) ?? 100) }

  private static func invalid(_ name: String, _ text: String, _ advice: String) -> APIProblem {
    APIProblem(.invalidParameter, "The query parameter \(name) is \"\(text.clipped())\"; \(advice).")
  }
}
