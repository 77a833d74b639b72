/// A command line and an environment for a guest whose VM is loaded already.
public struct GuestArguments: Sendable, Equatable {
  /// Replaces the image's own command line; nil keeps that.
  public var commandLine: String?
  /// Variables by name; nil for none.
  public var environment: [String: String]?

  /// Nil keeps the image's.
  public init(commandLine: String? = nil, environment: [String: String]? = nil) {
    self.commandLine = commandLine
    self.environment = environment
  }

  /// Whether both are nil.
  public var isEmpty: Bool { commandLine == nil && environment == nil }

  /// Why these come too late for a guest that has been started; nil where there are none.
  public var refusalAfterStart: GuestArgumentsError? {
    if commandLine != nil { return .hasStarted(what: "command line") }
    return environment == nil ? nil : .hasStarted(what: "environment")
  }
}

/// Why a guest cannot get its arguments.
public enum GuestArgumentsError: Error, Sendable, Equatable, CustomStringConvertible {
  /// Its kind has no command line.
  case noCommandLine
  /// Its kind has no environment.
  case noEnvironment
  /// There is no room for so much.
  case tooLong(what: String, bytes: Int, limit: Int)
  /// A byte 0 would end it early, and so would a line's end in an environment.
  case forbiddenByte(what: String)
  /// A variable's name is empty or holds an equals sign.
  case badName(String)
  /// The guest has read its arguments already: its VM is a clone of one that was started.
  case hasStarted(what: String)

  /// States what is wrong and what to do.
  public var description: String {
    switch self {
    case .noCommandLine: "Guests of this kind take no command line. Leave command_line out."
    case .noEnvironment: "Guests of this kind take no environment. Leave environment out."
    case .tooLong(let what, let bytes, let limit):
      "The \(what) has \(bytes) bytes, and there is room for \(limit). Make it shorter."
    case .forbiddenByte(let what): "The \(what) holds a NUL or the end of a line. Leave it out."
    case .hasStarted(let what):
      "VMs of this pool have booted already (ready_when), so no \(what) reaches their guests. Leave it out."
    case .badName(let name): "\"\(name)\" cannot be a variable's name. It is empty or holds an equals sign."
    }
  }
}

/// Where in a VM's memory its guest finds its arguments. The layout fixes the places; a lease or a run fills them.
public struct ArgumentPlaces: Sendable, Equatable {
  /// A number in memory: the length of a text, or the address of its end.
  public struct Length: Sendable, Equatable {
    /// Its guest-physical address; it has 32 bits.
    public let address: UInt64
    /// What the number is for an empty text.
    public let base: UInt32

    /// The number at `address`: `base` and the text's bytes.
    public init(address: UInt64, base: UInt32) {
      self.address = address
      self.base = base
    }
  }

  /// A text in memory.
  public struct Text: Sendable, Equatable {
    /// The guest-physical address of its first byte.
    public let address: UInt64
    /// The most bytes it may have, without the NUL that follows it.
    public let capacity: Int
    /// Where its length stands, if it does.
    public let length: Length?
    /// What else is in memory when the text is.
    public let besides: [GuestSegment]

    /// A text of up to `capacity` bytes, and a NUL.
    public init(address: UInt64, capacity: Int, length: Length? = nil, besides: [GuestSegment] = []) {
      self.address = address
      self.capacity = capacity
      self.length = length
      self.besides = besides
    }
  }

  /// The command line; nil where there is none.
  public var commandLine: Text?
  /// The environment, a line `NAME=VALUE` for each variable in the order of their names; nil where there is none.
  public var environment: Text?

  /// Nil where the guest's kind has none.
  public init(commandLine: Text? = nil, environment: Text? = nil) {
    self.commandLine = commandLine
    self.environment = environment
  }

  /// What to write into memory, so that the guest finds `arguments`.
  public func segments(for arguments: GuestArguments) throws(GuestArgumentsError) -> [GuestSegment] {
    var segments: [GuestSegment] = []
    if let text = arguments.commandLine {
      guard let place = commandLine else { throw .noCommandLine }
      segments += try place.segments(text, "command line")
    }
    if let variables = arguments.environment {
      guard let place = environment else { throw .noEnvironment }
      segments += try place.segments(try Self.lines(variables), "environment")
    }
    return segments
  }

  private static func lines(_ variables: [String: String]) throws(GuestArgumentsError) -> String {
    var lines = ""
    for (name, value) in variables.sorted(by: { $0.key < $1.key }) {
      guard !name.isEmpty, !name.utf8.contains(UInt8(ascii: "=")) else { throw .badName(name) }
      let newline = UInt8(ascii: "\n")
      guard !name.utf8.contains(newline), !value.utf8.contains(newline) else {
        throw .forbiddenByte(what: "environment")
      }
      lines += "\(name)=\(value)\n"
    }
    return lines
  }
}

extension ArgumentPlaces.Text {
  /// What to write so that it reads `text`.
  func segments(_ text: String, _ what: String) throws(GuestArgumentsError) -> [GuestSegment] {
    let bytes = Array(text.utf8)
    guard bytes.count <= capacity else { throw .tooLong(what: what, bytes: bytes.count, limit: capacity) }
    guard !bytes.contains(0) else { throw .forbiddenByte(what: what) }
    let segments = [GuestSegment(address: address, bytes: bytes + [0])] + besides
    guard let length else { return segments }
    let number = length.base &+ UInt32(truncatingIfNeeded: bytes.count)
    return segments + [GuestSegment(address: length.address, bytes: [UInt8](littleEndian: number))]
  }
}
