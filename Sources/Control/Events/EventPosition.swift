import APIModel
import LinuxSupport

/// A place in the sequence of events: `EPOCH-SEQUENCE`, where the epoch is one run of the server.
public struct EventPosition: Sendable, Equatable, CustomStringConvertible {
  /// Twelve hex digits.
  public var epoch: String
  /// The number of an event. The first is 1.
  public var sequence: UInt64

  /// A place.
  public init(epoch: String, sequence: UInt64) {
    self.epoch = epoch
    self.sequence = sequence
  }

  /// Nil for what no server has ever given out.
  public init?(_ text: String) {
    guard let dash = text.lastIndex(of: "-"), let sequence = UInt64(text[text.index(after: dash)...]) else {
      return nil
    }
    self.init(epoch: String(text[..<dash]), sequence: sequence)
  }

  /// As above.
  public var description: String { "\(epoch)-\(sequence)" }
}

/// An event, and its place.
public struct PlacedEvent: Sendable, Equatable {
  /// Where a subscriber goes on that has seen the event.
  public let position: EventPosition
  /// The event.
  public let event: EventDocument
}

extension EventDocument {
  /// An event of this moment.
  public static func now(
    _ type: String, pool: String? = nil, vm: String? = nil, lease: String? = nil, detail: String? = nil
  ) -> EventDocument {
    EventDocument(
      type: type, at: RFC3339.text(milliseconds: Int64(WallClock.now() / 1_000_000)), pool: pool, vm: vm, lease: lease,
      detail: detail)
  }
}
