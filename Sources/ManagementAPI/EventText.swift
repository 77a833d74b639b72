import APIModel

/// Events as the WHATWG's HTML standard has them go over the wire ("Server-sent events").
enum EventText {
  /// An event without its id: a name, by which browsers dispatch it, and a line of JSON. Written by hand, since whoever
  /// publishes has other things to do; a test holds it to what the encoder makes.
  static func event(_ event: EventDocument) -> [UInt8] {
    var text: [UInt8] = []
    text.reserveCapacity(256)
    text += "event: ".utf8
    text += event.type.utf8.prefix { $0 != UInt8(ascii: ".") }
    text += "\ndata: {".utf8
    put("type", event.type, into: &text)
    for (name, value) in [
      ("at", event.at), ("pool", event.pool), ("vm", event.vm), ("lease", event.lease), ("detail", event.detail),
    ] {
      text.append(UInt8(ascii: ","))
      put(name, value, into: &text)
    }
    text += "}\n\n".utf8
    return text
  }

  private static func put(_ name: String, _ value: String?, into text: inout [UInt8]) {
    text += "\"\(name)\":".utf8
    guard let value else {
      text += "null".utf8
      return
    }
    text.append(UInt8(ascii: "\""))
    for byte in value.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        text.append(UInt8(ascii: "\\"))
        text.append(byte)
      // Some parsers, ours among them, take no NUL, however it is written.
      case 0: text += "\u{FFFD}".utf8
      case 1..<0x20:
        text += byte < 0x10 ? "\\u000".utf8 : "\\u00".utf8
        text += String(byte, radix: 16, uppercase: true).utf8
      default: text.append(byte)
      }
    }
    text.append(UInt8(ascii: "\""))
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
