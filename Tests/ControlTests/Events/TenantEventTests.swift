import APIModel
import Access
import PoolManager
import Testing

@testable import Control

/// Events of several tenants in one history.
@Suite struct TenantEventTests {
  @Test func eachSeesItsOwn() throws {
    let log = EventLog()
    let (acme, beta) = (try #require(Tenant("acme")), try #require(Tenant("beta")))
    log.publish(.now("a", pool: "web"))
    log.publish(.now("b", pool: "acme/web"), of: acme)
    log.publish(.now("c", pool: "web"), of: acme)
    log.publish(.now("d"), of: beta)
    func seen(_ filter: EventFilter) throws -> [String] {
      let start = try log.ticket(for: EventFilter(), after: nil, limit: nil).opening.position
      let beginning = EventPosition(epoch: start.epoch, sequence: 0)
      return try log.ticket(for: filter, after: "\(beginning)", limit: nil).opening.events.map(\.event.type)
    }
    #expect(try seen(EventFilter()) == ["a", "b", "c", "d"])
    #expect(try seen(EventFilter(Viewer(tenant: acme))) == ["b", "c"])
    #expect(try seen(EventFilter(Viewer(tenant: beta))) == ["d"])
    // Of its own pool, and of the one that is shared with it.
    #expect(try seen(EventFilter(Viewer(tenant: acme), pool: "acme/web")) == ["b"])
    #expect(try seen(EventFilter(Viewer(tenant: acme), pool: "web")) == ["c"])
    #expect(try seen(EventFilter(pool: "web")) == ["a", "c"])
    #expect(try seen(EventFilter(Viewer(tenant: beta, pools: ["web"]))).isEmpty)
  }

  @Test func streamsAreLimited() throws {
    let log = EventLog(EventLog.Configuration(subscribers: 3))
    let acme = try #require(Tenant("acme"))
    var tickets = [try log.ticket(for: EventFilter(), of: acme, quota: 1, after: nil, limit: nil)]
    #expect(throws: EventRefusal.self) {
      try log.ticket(for: EventFilter(), of: acme, quota: 1, after: nil, limit: nil)
    }
    tickets.append(try log.ticket(for: EventFilter(), after: nil, limit: nil))
    tickets.append(try log.ticket(for: EventFilter(), after: nil, limit: nil))
    #expect(throws: EventRefusal.self) { try log.ticket(for: EventFilter(), after: nil, limit: nil) }
    tickets = []
    #expect(log.subscribers == 0)
    tickets.append(try log.ticket(for: EventFilter(), of: acme, quota: 1, after: nil, limit: nil))
  }
}
