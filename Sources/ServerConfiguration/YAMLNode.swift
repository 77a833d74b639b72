/// A piece of a YAML document, and where it begins.
struct YAMLNode {
  enum Content {
    /// `isPlain`: without quotes, so that it may mean a number, a boolean or nothing.
    case scalar(String, isPlain: Bool)
    case sequence([YAMLNode])
    case mapping([Member])
    /// What could not be taken, and was complained of.
    case refused
  }

  struct Member {
    var key: YAMLNode
    var value: YAMLNode
  }

  typealias Position = ConfigurationMistake.Position

  var content: Content
  var position: Position

  /// Whether it stands for nothing: `key:`, `~` or `null`.
  var isNull: Bool {
    guard case .scalar(let text, isPlain: true) = content else { return false }
    return ["", "~", "null", "Null", "NULL"].contains(text)
  }

  /// Whether there is nothing more to say about it.
  var isRefused: Bool {
    guard case .refused = content else { return false }
    return true
  }

  /// What it is, for people.
  var kind: String {
    switch content {
    case .scalar(let text, _): isNull ? "nothing" : text.shown
    case .sequence: "a list"
    case .mapping: "a mapping"
    case .refused: "this"
    }
  }
}
