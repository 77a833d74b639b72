import ArgumentParser
import CommandLineSupport

/// What `--format` says: `table`, `json`, or a template.
enum OutputFormat: ExpressibleByArgument, Equatable {
  case table
  case json
  case template(Template)

  /// What help texts say of it.
  static let help = ArgumentHelp(
    "How documents are printed: table, json, or a line with members of the JSON in it, such as '{{.id}} {{.state}}'.",
    valueName: "format")

  init?(argument: String) {
    switch argument {
    case "table": self = .table
    case "json": self = .json
    default:
      guard let template = Template(argument) else { return nil }
      self = .template(template)
    }
  }
}

/// A text with members of a JSON document in it: `{{.id}}`, or `{{.stop.reason}}` for a member of a member. `\t` and
/// `\n` stand for a tab and a line break, as shells pass them on unchanged.
struct Template: Equatable {
  private enum Piece: Equatable {
    case text(String)
    case member([String])
  }

  private let pieces: [Piece]

  /// nil where it names no member, or one wrongly.
  init?(_ text: String) {
    var pieces: [Piece] = []
    var rest = text[...]
    while let open = rest.firstRange(of: "{{") {
      guard let close = rest[open.upperBound...].firstRange(of: "}}") else { return nil }
      let name = rest[open.upperBound..<close.lowerBound].filter { $0 != " " }
      let path = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
      guard path.first == "", path.count > 1, !path.dropFirst().contains("") else { return nil }
      pieces += [.text(Self.unescaped(rest[..<open.lowerBound])), .member(Array(path.dropFirst()))]
      rest = rest[close.upperBound...]
    }
    if pieces.isEmpty { return nil }
    self.pieces = pieces + [.text(Self.unescaped(rest))]
  }

  private static func unescaped(_ text: Substring) -> String {
    String(text).replacing("\\t", with: "\t").replacing("\\n", with: "\n")
  }

  /// The text with the document's members in it. A member that is null is empty, and so are its own members. Throws
  /// what is wrong with a name that the document does not have.
  func text(of document: AnyJSON) throws -> String {
    try pieces.map { piece in
      switch piece {
      case .text(let text): text
      case .member(let path): try Self.member(path, of: document).text()
      }
    }.joined()
  }

  private static func member(_ path: [String], of document: AnyJSON) throws -> AnyJSON {
    var value = document
    for name in path {
      if value == .null { return .null }
      guard case .object(let members) = value else {
        throw Failure("--format: what is before .\(name) has no members", status: 64)
      }
      guard let member = members[name] else {
        let near = nearest(to: name, in: members.keys).map { " Did you mean .\($0)?" } ?? ""
        let known = members.keys.sorted().map { "." + $0 }.joined(separator: " ")
        throw Failure("--format: there is no .\(name).\(near) There are \(known).", status: 64)
      }
      value = member
    }
    return value
  }
}
