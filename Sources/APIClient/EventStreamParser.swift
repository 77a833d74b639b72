/// An event as it came over the wire.
public struct ServerSentEvent: Sendable, Equatable {
  /// The id of the last event so far that had one; give it to the server to go on from here.
  public var id: String
  /// Its name; `message` where none was given.
  public var name: String
  /// Its data, lines joined with line feeds.
  public var data: String

  /// An event.
  public init(id: String, name: String, data: String) {
    self.id = id
    self.name = name
    self.data = data
  }
}

/// Takes a stream of server-sent events apart, byte by byte, as WHATWG HTML says ("Server-sent events", "Interpreting an
/// event stream").
struct EventStreamParser {
  /// What the server said last about where the stream is.
  private(set) var lastEventID: String
  /// How soon the server wants to be asked again; nil unless it said so.
  private(set) var retryMS: Int?
  /// Whether a line or an event was larger than 1 MiB, more than any that the server makes.
  private(set) var isTooLarge = false

  private static let limit = 1 << 20
  private var line: [UInt8] = []
  private var isFirstLine = true
  private var followsReturn = false
  private var data: [UInt8] = []
  private var name: [UInt8] = []
  /// Becomes the last event's id with the next empty line.
  private var id: String

  /// A stream that goes on from `lastEventID`.
  init(lastEventID: String = "") {
    self.lastEventID = lastEventID
    id = lastEventID
  }

  /// Takes the next byte; the event that it completes, if it does.
  mutating func take(_ byte: UInt8) -> ServerSentEvent? {
    defer { followsReturn = byte == 0x0D }
    switch byte {
    case 0x0A where followsReturn: return nil
    case 0x0A, 0x0D:
      defer { line.removeAll(keepingCapacity: true) }
      return endLine()
    default:
      if line.count < Self.limit { line.append(byte) } else { isTooLarge = true }
      return nil
    }
  }

  private mutating func endLine() -> ServerSentEvent? {
    if isFirstLine, line.starts(with: [0xEF, 0xBB, 0xBF]) { line.removeFirst(3) }
    isFirstLine = false
    guard !line.isEmpty else { return dispatched() }
    let colon = line.firstIndex(of: UInt8(ascii: ":")) ?? line.endIndex
    var value = line[colon...].dropFirst()
    if value.first == 0x20 { value.removeFirst() }
    switch String(decoding: line[..<colon], as: UTF8.self) {
    case "data":
      if data.count + value.count > Self.limit { isTooLarge = true } else { data += value + [0x0A] }
    case "event": name = Array(value)
    case "id": if !value.contains(0) { id = String(decoding: value, as: UTF8.self) }
    case "retry":
      let isNumber = !value.isEmpty && value.allSatisfy { (0x30...0x39).contains($0) }
      if isNumber, let milliseconds = Int(String(decoding: value, as: UTF8.self)) { retryMS = milliseconds }
    // Comments, which begin with the colon, and unknown fields are ignored.
    default: break
    }
    return nil
  }

  private mutating func dispatched() -> ServerSentEvent? {
    defer { (data, name) = ([], []) }
    lastEventID = id
    guard !data.isEmpty else { return nil }
    return ServerSentEvent(
      id: id, name: name.isEmpty ? "message" : String(decoding: name, as: UTF8.self),
      data: String(decoding: data.dropLast(), as: UTF8.self))
  }
}
