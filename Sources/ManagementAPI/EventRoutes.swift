import APIModel
import Glibc
import HTTPServer

/// `/v1/events`.
enum EventRoutes {
  static let routes = [
    Route(
      method: .get, template: "/v1/events", operationID: "streamEvents",
      query: ["pool", "vm", "last_event_id", "limit", "timeout_ms"], operation: stream)
  ]

  private static func stream(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let filter = EventFilter(pool: try context.query.resourceName("pool"), vm: try context.query.vmID("vm"))
    let limit = try context.query.integer("limit", in: 1...1_000_000)
    let timeoutMS = try context.query.integer("timeout_ms", in: 1...86_400_000)
    // A browser that comes back says in the header where it was; the query is what it came with first.
    let lastEventID = try context.header("Last-Event-ID") ?? context.query.text("last_event_id")
    try api.admitWaiting()
    return try api.events.subscribe(
      filter, after: lastEventID == "" ? nil : lastEventID, limit: limit.map(Int.init),
      timeoutMS: timeoutMS.map(Int.init))
  }
}

extension EventDocument {
  /// An event of this moment.
  static func now(
    _ type: String, pool: String? = nil, vm: String? = nil, lease: String? = nil, detail: String? = nil
  ) -> EventDocument {
    var time = timespec()
    // Safe: the kernel fills one whole timespec.
    unsafe clock_gettime(CLOCK_REALTIME, &time)
    let milliseconds = Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    return EventDocument(
      type: type, at: RFC3339.text(milliseconds: milliseconds), pool: pool, vm: vm, lease: lease, detail: detail)
  }
}
