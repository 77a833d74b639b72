import APIModel
import JSONCodec

/// Events as the WHATWG's HTML standard has them go over the wire ("Server-sent events").
enum EventText {
  /// An event without its id: a name, by which browsers dispatch it, and a line of JSON.
  static func event(_ event: EventDocument) -> [UInt8] {
    let name = event.type.prefix { $0 != "." }
    do throws(JSONEncodingError) {
      return try JSON.encode(event, after: Array("event: \(name)\ndata: ".utf8)) + Array("\n\n".utf8)
    } catch {
      // A document of strings can always be written.
      preconditionFailure("an event cannot be encoded: \(error)")
    }
  }

  /// The line that names an event, to go before it.
  static func idLine(_ position: EventPosition) -> [UInt8] { Array("id: \(position)\n".utf8) }

  /// What a stream begins with: how soon to come back after the connection broke.
  static let retry = Array("retry: 1000\n\n".utf8)

  /// Where to go on from, without an event.
  static func mark(_ position: EventPosition) -> [UInt8] { idLine(position) + [UInt8(ascii: "\n")] }

  /// A comment, to find out whether the client is there, and a mark, since it may see few of the events.
  static func heartbeat(_ position: EventPosition) -> [UInt8] { Array(":\n".utf8) + mark(position) }
}

/// A place in the sequence of events: `EPOCH-SEQUENCE`, where the epoch is one run of the server.
struct EventPosition: Equatable, CustomStringConvertible {
  var epoch: String
  var sequence: UInt64

  init(epoch: String, sequence: UInt64) {
    self.epoch = epoch
    self.sequence = sequence
  }

  /// Nil for what no server has ever given out.
  init?(_ text: String) {
    guard let dash = text.lastIndex(of: "-"), let sequence = UInt64(text[text.index(after: dash)...]) else {
      return nil
    }
    self.init(epoch: String(text[..<dash]), sequence: sequence)
  }

  var description: String { "\(epoch)-\(sequence)" }
}
