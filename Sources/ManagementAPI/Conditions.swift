/// What a conditional request asks for (RFC 9110, 13.1).
struct Condition: Sendable {
  /// Entity tags, or `*` alone.
  var ifMatch: [String]?
  var ifNoneMatch: [String]?

  /// Checks the entity tag that something has; nil where there is no such thing. `what` names it, such as
  /// `The pool demo`.
  func check(_ tag: String?, _ what: String) throws(APIProblem) {
    if let ifMatch, !Self.matches(ifMatch, tag) {
      let now = tag.map { "its ETag is \($0)" } ?? "there is none"
      throw APIProblem(.preconditionFailed, "\(what) is not as If-Match says: \(now). GET it and try again.")
    }
    if let ifNoneMatch, Self.matches(ifNoneMatch, tag) {
      throw APIProblem(.preconditionFailed, "\(what) is there already.")
    }
  }

  private static func matches(_ tags: [String], _ tag: String?) -> Bool {
    guard let tag else { return false }
    return tags == ["*"] || tags.contains(tag)
  }
}

extension Context {
  /// What the request depends upon.
  func condition() throws(APIProblem) -> Condition {
    Condition(ifMatch: try tags("If-Match"), ifNoneMatch: try tags("If-None-Match"))
  }

  /// The entity tags of a header field. What is none is refused: a condition that was passed over would let happen what
  /// it was to prevent.
  private func tags(_ name: String) throws(APIProblem) -> [String]? {
    guard let field = header(name) else { return nil }
    let tags = field.split(separator: ",", omittingEmptySubsequences: false).map { part in
      String(part.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
    }
    guard tags == ["*"] || tags.allSatisfy(Self.isTag) else {
      throw APIProblem(
        .badRequest, "\(name) is neither * nor a list of entity tags; send what ETag said, quotes and all.")
    }
    return tags
  }

  private static func isTag(_ text: String) -> Bool {
    let opaque = text.hasPrefix("W/") ? text.dropFirst(2) : text[...]
    return opaque.utf8.count >= 2 && opaque.hasPrefix("\"") && opaque.hasSuffix("\"")
      && opaque.dropFirst().dropLast().utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != 0x22 }
  }
}
