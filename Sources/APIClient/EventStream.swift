public import APIModel
import JSONCodec

/// Where a client is in the stream of events.
public struct EventCursor: Sendable, Equatable {
  /// The id of the last event that it has seen; nil lets the stream begin now.
  public var lastEventID: String?
  /// How soon to come back after the connection broke.
  public var retry: Duration = .seconds(1)
  /// Whether the server has answered since this was last set to false.
  public var hasBegun = false

  /// A place in the stream.
  public init(lastEventID: String? = nil) { self.lastEventID = lastEventID }
}

extension VMPoolClient {
  /// How long a stream may be silent before it is taken for dead: four of the server's heartbeats.
  static let patience: Duration = .seconds(60)

  /// `GET /v1/events`: hands over events as they come, until the server ends the stream or `body` returns false. With `pool`
  /// or `vm`, those events only. `position` says where to begin. Afterwards it says where to go on, also when this throws.
  /// An event of type `reset` says that the client missed some.
  ///
  /// Throws `unreachable` when the connection breaks or falls silent.
  public func events(
    from position: inout EventCursor, pool: String? = nil, vm: String? = nil, tenant: String? = nil,
    _ body: (_ event: EventDocument, _ raw: ServerSentEvent) -> Bool
  ) throws(APIError) {
    let query: [HTTPField] = .optional("pool", pool) + .optional("vm", vm) + .optional("tenant", tenant)
    let fields = position.lastEventID.map { [HTTPField("Last-Event-ID", $0)] } ?? []
    var reading = Reading(parser: EventStreamParser(lastEventID: position.lastEventID ?? ""))
    defer { reading.save(to: &position) }
    let refusal = try connection.stream(
      target: PercentEncoding.target(path: "/v1/events", query: query),
      headers: fields + [HTTPField("Accept", "text/event-stream")], type: "text/event-stream", silence: Self.patience
    ) { reading.take($0, body) }
    if let violation = reading.violation { throw .protocolViolation(violation) }
    if let refusal { throw self.refusal(refusal, "GET /v1/events") }
  }

  /// What a stream has brought so far.
  private struct Reading {
    var parser: EventStreamParser
    var hasBegun = false
    var violation: String?

    /// False when no more is wanted.
    mutating func take(_ bytes: [UInt8], _ body: (EventDocument, ServerSentEvent) -> Bool) -> Bool {
      hasBegun = true
      for byte in bytes {
        guard let raw = parser.take(byte) else { continue }
        do {
          let event = try JSON.decode(EventDocument.self, from: Array(raw.data.utf8), unknownMembers: .ignore)
          guard body(event, raw) else { return false }
        } catch {
          violation = "GET /v1/events sent something unexpected: \(error)"
          return false
        }
      }
      if parser.isTooLarge { violation = "GET /v1/events sent an event of more than a megabyte" }
      return violation == nil
    }

    func save(to position: inout EventCursor) {
      if !parser.lastEventID.isEmpty { position.lastEventID = parser.lastEventID }
      if let milliseconds = parser.retryMS { position.retry = .milliseconds(min(milliseconds, 60_000)) }
      if hasBegun { position.hasBegun = true }
    }
  }
}
