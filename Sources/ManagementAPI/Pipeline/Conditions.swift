import Control
import HTTPServer

/// An entity tag (RFC 9110, 8.8.3).
struct EntityTag: Sendable, Equatable {
  /// Whether it stands for representations that are merely as good as one another: `W/"1"`.
  var isWeak: Bool
  /// What stands between the quotation marks, and these.
  var opaque: Substring

  /// Compares as `If-Match` does (RFC 9110, 8.8.3.2): two weak tags are never the same.
  func matchesStrongly(_ tag: String) -> Bool { !isWeak && opaque == tag }

  /// Compares as `If-None-Match` does: without regard to weakness. The server's own tags are strong.
  func matchesWeakly(_ tag: String) -> Bool { opaque == tag }
}

/// The value of `If-Match` or `If-None-Match`.
enum TagCondition: Sendable, Equatable {
  /// `*`: anything at all.
  case any
  case tags([EntityTag])

  /// Reads a list of tags, or `*`; nil where the text is neither. A list may have empty members (RFC 9110, 5.6.1.2), but
  /// it names one tag at least.
  init?(_ text: String) {
    var rest = text[...].utf8
    var tags: [EntityTag] = []
    var isSeparated = true
    Self.skipSpace(&rest)
    if rest.first == UInt8(ascii: "*") {
      rest = rest.dropFirst()
      Self.skipSpace(&rest)
      guard rest.isEmpty else { return nil }
      self = .any
      return
    }
    while let byte = rest.first {
      if byte == UInt8(ascii: ",") {
        rest = rest.dropFirst()
        isSeparated = true
      } else {
        guard isSeparated, let tag = Self.tag(&rest) else { return nil }
        tags.append(tag)
        isSeparated = false
      }
      Self.skipSpace(&rest)
    }
    guard !tags.isEmpty else { return nil }
    self = .tags(tags)
  }

  private static func skipSpace(_ rest: inout Substring.UTF8View) {
    rest = rest.drop { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
  }

  private static func tag(_ rest: inout Substring.UTF8View) -> EntityTag? {
    let isWeak = rest.starts(with: "W/".utf8)
    if isWeak { rest = rest.dropFirst(2) }
    let start = rest
    guard rest.popFirst() == UInt8(ascii: "\"") else { return nil }
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "\"") {
        return EntityTag(isWeak: isWeak, opaque: Substring(start[start.startIndex..<rest.startIndex]))
      }
      // Visible characters but the quotation mark, and bytes that are not ASCII.
      guard byte > 0x20, byte != 0x7F else { return nil }
    }
    return nil
  }

  fileprivate func contains(where matches: (EntityTag) -> Bool) -> Bool {
    switch self {
    case .any: true
    case .tags(let tags): tags.contains(where: matches)
    }
  }
}

/// What a conditional request asks for (RFC 9110, 13.1).
struct Condition: Sendable {
  var ifMatch: TagCondition?
  var ifNoneMatch: TagCondition?

  /// Checks a request that changes something which has an entity tag; nil where there is no such thing. `what` names it,
  /// such as `The pool demo`. `If-Match` comes first (RFC 9110, 13.2.2).
  func check(_ tag: String?, _ what: String) throws(PreconditionFailure) {
    try checkMatch(tag, what)
    guard let tag, noneMatchFails(tag) else { return }
    let detail = ifNoneMatch == .any ? "is there already" : "has the ETag \(tag) still, which If-None-Match excludes"
    throw PreconditionFailure("\(what) \(detail).")
  }

  /// The same, for what changes it.
  func precondition(of what: String) -> Precondition {
    { tag throws(PreconditionFailure) in try check(tag, what) }
  }

  fileprivate func checkMatch(_ tag: String?, _ what: String) throws(PreconditionFailure) {
    guard let ifMatch else { return }
    if let tag, ifMatch.contains(where: { $0.matchesStrongly(tag) }) { return }
    let now = tag.map { "its ETag is \($0)" } ?? "there is none"
    throw PreconditionFailure("\(what) is not as If-Match says: \(now). GET it and try again.")
  }

  fileprivate func noneMatchFails(_ tag: String) -> Bool {
    ifNoneMatch?.contains { $0.matchesWeakly(tag) } ?? false
  }
}

extension Context {
  /// What the request depends upon.
  func condition() throws(APIProblem) -> Condition {
    Condition(ifMatch: try tags("If-Match"), ifNoneMatch: try tags("If-None-Match"))
  }

  /// Refuses the request where it depends upon another tag than that which `what` has now.
  func checkCondition(_ tag: String?, _ what: String) throws(APIProblem) {
    let condition = try condition()
    do throws(PreconditionFailure) {
      try condition.check(tag, what)
    } catch {
      throw APIProblem(.preconditionFailed, error.description)
    }
  }

  /// The answer to a GET of what has an entity tag: what `answer` makes, or 304 where the client has that already. `what`
  /// names it, as in `Condition.check`.
  func unlessUnchanged(
    _ tag: String, _ what: String, caching: String = "no-store",
    _ answer: () throws(APIProblem) -> HTTPResponse
  ) throws(APIProblem) -> HTTPResponse {
    let condition = try condition()
    do throws(PreconditionFailure) {
      try condition.checkMatch(tag, what)
    } catch {
      throw APIProblem(.preconditionFailed, error.description)
    }
    guard condition.noneMatchFails(tag) else { return try answer() }
    return HTTPResponse(
      status: 304,
      headers: [("ETag", tag), ("Cache-Control", caching), ("X-Content-Type-Options", "nosniff")])
  }

  /// The entity tags of a header field. A malformed one is refused: a condition that was passed over would let happen what
  /// it was to prevent.
  private func tags(_ name: String) throws(APIProblem) -> TagCondition? {
    guard let field = head.headers.list(name) else { return nil }
    guard let condition = TagCondition(field) else {
      throw APIProblem(
        .badRequest, "\(name) is neither * nor a list of entity tags; send what ETag said, quotes and all.")
    }
    return condition
  }
}
