/// Something in the file that is not as it must be.
public struct ConfigurationMistake: Sendable, Equatable {
  /// A place in the file.
  public struct Position: Sendable, Equatable, Comparable {
    /// From 1.
    public var line: Int
    /// From 1, in characters (Unicode scalars).
    public var column: Int

    /// Line by line.
    public static func < (one: Position, other: Position) -> Bool {
      (one.line, one.column) < (other.line, other.column)
    }
  }

  /// Where.
  public var position: Position
  /// What is wrong and what to write instead, in a line.
  public var message: String
}

/// Why there is no configuration.
public enum ConfigurationError: Error, Sendable, Equatable {
  /// The file cannot be read.
  case cannotRead(path: String, reason: String)
  /// All that is wrong in the file in the order of the lines, but no more than 100.
  case mistakes(path: String, [ConfigurationMistake])

  /// A line for each mistake: `FILE:LINE:COLUMN: message`.
  public var lines: [String] {
    switch self {
    case .cannotRead(let path, let reason): ["\(path): \(reason)"]
    case .mistakes(let path, let mistakes):
      mistakes.map { "\(path):\($0.position.line):\($0.position.column): \($0.message)" }
    }
  }
}

/// The mistakes found so far.
struct Mistakes {
  static let limit = 100
  private(set) var all: [ConfigurationMistake] = []

  mutating func add(_ position: ConfigurationMistake.Position, _ message: String) {
    // One more than the limit, so that it is known that there are more.
    if all.count <= Self.limit { all.append(ConfigurationMistake(position: position, message: message)) }
  }

  /// In the order of the file.
  var sorted: [ConfigurationMistake] {
    var sorted = all.sorted { $0.position < $1.position }
    if sorted.count > Self.limit { sorted[Self.limit - 1].message += " (and there are more mistakes)" }
    return Array(sorted.prefix(Self.limit))
  }
}

extension String {
  /// Short enough, and plain enough, to be shown in one line.
  var shown: String {
    let clipped = unicodeScalars.prefix(40)
    let text = clipped.map { $0.properties.generalCategory == .control ? "\u{FFFD}" : String($0) }.joined()
    return clipped.count < unicodeScalars.count ? text + "…" : text
  }
}
