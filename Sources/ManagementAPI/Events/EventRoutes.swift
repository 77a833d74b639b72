import Control
import HTTPServer
import LinuxSupport

/// `/v1/events`.
enum EventRoutes {
  static let routes = [
    Route(
      method: .get, template: "/v1/events", operationID: "streamEvents", scope: .read,
      query: ["pool", "vm", "last_event_id", "limit", "timeout_ms"], operation: stream)
  ]

  private static func stream(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let filter = EventFilter(
      context.viewer, pool: try api.queriedPool(context), vm: try context.query.vmID("vm"))
    let limit = try context.query.integer("limit", in: 1...1_000_000)
    let timeoutMS = try context.query.integer("timeout_ms", in: 1...86_400_000)
    // A browser that comes back says in the header where it was; the query is what it came with first.
    let lastEventID = try context.header("Last-Event-ID") ?? context.query.text("last_event_id")
    try api.admitWaiting()
    let ticket: EventTicket
    do throws(EventRefusal) {
      ticket = try api.events.ticket(
        for: filter, of: context.tenant, quota: api.fleet.quotas(of: context.tenant).streams,
        after: lastEventID == "" ? nil : lastEventID, limit: limit.map(Int.init))
    } catch {
      throw APIProblem(error)
    }
    var response = HTTPResponse.dynamic(
      status: 200, type: "text/event-stream", body: EventText.opening(ticket.opening))
    response.stream = { [events = api.events] stream in
      guard !ticket.opening.isAll else { return stream.finish() }
      let sender = EventSender(stream)
      let key = events.subscribe(ticket, sender)
      stream.whenClosed { events.unsubscribe(key) }
      if let timeoutMS { sender.end(afterNS: UInt64(timeoutMS) * 1_000_000) }
    }
    return response
  }
}

/// Sends the events of one subscriber over its connection.
private final class EventSender: EventReceiver {
  private let stream: HTTPStream
  private let timer = DeadlineTimer()

  init(_ stream: HTTPStream) { self.stream = stream }

  func receive(_ events: [PlacedEvent]) { stream.send(events.flatMap(EventText.event)) }

  // This also shows whether anybody listens.
  func reached(_ position: EventPosition) { stream.send(EventText.heartbeat(position)) }

  func finish() { stream.finish() }

  /// Ends the stream after a while.
  func end(afterNS delay: UInt64) { timer.arm(afterNS: delay) { [stream] in stream.finish() } }
}
