/// How far the guests of a pool's VMs have come before they are leased: `"loaded"`, `"started"`, `{"console": "text"}` or
/// `{"after_ms": n}`.
public enum ReadyWhen: Codable, Sendable, Equatable {
  /// Not started: each VM is loaded from its image.
  case loaded
  /// Just started.
  case started
  /// They have printed this text.
  case console(String)
  /// So many milliseconds have passed since their start.
  case afterMS(Int)

  /// Reads a word, or an object with one member.
  public init(from decoder: any Decoder) throws {
    guard decoder.isObject else {
      let value = try decoder.singleValueContainer()
      switch try value.decode(String.self) {
      case "loaded": self = .loaded
      case "started": self = .started
      default: throw DecodingError.dataCorruptedError(in: value, debugDescription: Self.rule)
      }
      return
    }
    let members = try decoder.container(keyedBy: CodingKeys.self)
    let text = try members.decodeIfPresent(String.self, forKey: .console)
    switch (text, try members.decodeIfPresent(Int.self, forKey: .afterMS)) {
    case (let text?, nil): self = .console(text)
    case (nil, let time?): self = .afterMS(time)
    default:
      throw DecodingError.dataCorrupted(.init(codingPath: decoder.codingPath, debugDescription: Self.rule))
    }
  }

  /// Writes what `init(from:)` reads.
  public func encode(to encoder: any Encoder) throws {
    switch self {
    case .loaded, .started:
      var value = encoder.singleValueContainer()
      try value.encode(self == .loaded ? "loaded" : "started")
    case .console(let text):
      var members = encoder.container(keyedBy: CodingKeys.self)
      try members.encode(text, forKey: .console)
    case .afterMS(let time):
      var members = encoder.container(keyedBy: CodingKeys.self)
      try members.encode(time, forKey: .afterMS)
    }
  }

  private static let rule = #"give "loaded", "started", {"console": TEXT} or {"after_ms": NUMBER}"#

  private enum CodingKeys: String, CodingKey {
    case console
    case afterMS = "after_ms"
  }
}

/// How a pool stands with the VM that its others are cloned from.
public struct TemplateStatusDocument: Codable, Sendable, Equatable {
  /// `none`, `booting`, `ready` or `failed`; the refill's status says why it failed.
  public var state: String
  /// Memory that it takes, for all its clones together; null unless it is ready.
  public var memoryBytes: UInt64?
  /// How long it took to its ready point; null unless it is ready.
  public var bootMS: Int?

  /// A status.
  public init(state: String, memoryBytes: UInt64? = nil, bootMS: Int? = nil) {
    self.state = state
    self.memoryBytes = memoryBytes
    self.bootMS = bootMS
  }

  enum CodingKeys: String, CodingKey {
    case state
    case memoryBytes = "memory_bytes"
    case bootMS = "boot_ms"
  }
}
