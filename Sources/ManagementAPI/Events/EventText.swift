import APIModel
import Control
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

  /// An event with the line that names it.
  static func event(_ placed: PlacedEvent) -> [UInt8] { idLine(placed.position) + event(placed.event) }

  /// What a new subscriber gets first.
  static func opening(_ opening: EventOpening) -> [UInt8] {
    let text = retry + opening.events.flatMap(event)
    // Where to go on even if none of them was for this subscriber.
    return opening.isAll ? text : text + mark(opening.position)
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
