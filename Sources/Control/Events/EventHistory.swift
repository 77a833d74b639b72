import APIModel
import Access
import PoolManager

/// The last events of this run of the server, in order.
struct EventHistory {
  /// One event.
  struct Entry: Sendable {
    let sequence: UInt64
    /// Whose it is: others do not see it.
    let tenant: Tenant
    /// How the server calls its pool.
    let pool: String?
    let event: EventDocument
  }

  /// Some events in a row.
  struct Excerpt: Sendable {
    /// That of the last of them, or where they would be.
    var position: EventPosition
    var entries: [Entry] = []
    /// There were others before them, which are no longer known.
    var isIncomplete = false
  }

  /// Twelve random hex digits, others for each run of the server.
  private let epoch: String
  /// Event n is at n - 1 modulo the capacity.
  private var ring: [Entry] = []
  private let capacity: Int
  /// The last event's sequence; they begin with 1.
  private(set) var last: UInt64 = 0

  init(capacity: Int) {
    self.capacity = max(1, capacity)
    let random = String(UInt64.random(in: 0..<1 << 48), radix: 16)
    epoch = String(repeating: "0", count: 12 - random.count) + random
  }

  /// Appends an event whose pool has the server's name. Its document has the tenant's name of it.
  mutating func append(_ event: EventDocument, of tenant: Tenant = .standard) {
    var named = event
    named.pool = event.pool.map { Tenant.split($0).name }
    let place = Int(last % UInt64(capacity))
    last += 1
    let entry = Entry(sequence: last, tenant: tenant, pool: event.pool, event: named)
    if place < ring.count { ring[place] = entry } else { ring.append(entry) }
  }

  func position(_ sequence: UInt64) -> EventPosition { EventPosition(epoch: epoch, sequence: sequence) }

  /// The events after one and up to another (the last one unless given), as far as they are known.
  func entries(after: UInt64, through: UInt64? = nil) -> Excerpt {
    let end = min(through ?? last, last)
    var excerpt = Excerpt(position: position(max(after, end)))
    guard after < end else { return excerpt }
    let capacity = UInt64(capacity)
    let first = max(after, last > capacity ? last - capacity : 0) + 1
    excerpt.isIncomplete = first > after + 1
    if first <= end { excerpt.entries = (first...end).map { ring[Int(($0 - 1) % capacity)] } }
    return excerpt
  }

  /// For a subscriber that has seen everything up to `lastEventID`, or nothing.
  func opening(after lastEventID: String?, _ filter: EventFilter, limit: Int?) -> EventOpening {
    var batch = EventBatch(limit: limit)
    let position = position(last)
    if let lastEventID {
      if let seen = EventPosition(lastEventID), seen.epoch == epoch, seen.sequence <= last {
        batch.add(entries(after: seen.sequence), filter)
      } else {
        batch.add(reset: position, "That id is not of this run of the server.")
      }
    }
    return EventOpening(events: batch.events, position: position, remaining: batch.remaining)
  }
}

/// What a new subscriber gets first.
public struct EventOpening: Sendable {
  /// What the subscriber has missed, or a `reset` in its place.
  public let events: [PlacedEvent]
  /// Everything up to here is in `events`, or was not asked for.
  public let position: EventPosition
  /// How many events the subscriber is to get in addition; nil: any number.
  public let remaining: Int?

  /// Whether `events` are all that the subscriber wants.
  public var isAll: Bool { remaining == 0 }
}

/// Which events a subscriber wants. Every subscriber gets a reset.
public struct EventFilter: Sendable {
  /// Whose events are there.
  public var viewer: Viewer
  /// The pool, as the server calls it, whose events are wanted; nil: any.
  public var pool: String?
  /// The VM whose events are wanted; nil: any.
  public var vm: String?

  /// A filter that admits what all members admit.
  public init(_ viewer: Viewer = .everything, pool: String? = nil, vm: String? = nil) {
    self.viewer = viewer
    self.pool = pool
    self.vm = vm
  }

  func admits(_ entry: EventHistory.Entry) -> Bool {
    (pool == nil || pool == entry.pool) && (vm == nil || vm == entry.event.vm)
      && viewer.sees(entry.tenant, pool: entry.pool)
  }
}

/// Events for one subscriber, no more than it wants.
struct EventBatch {
  private(set) var events: [PlacedEvent] = []
  private(set) var remaining: Int?

  init(limit: Int?) { remaining = limit }

  /// What the subscriber wants of an excerpt, or a reset in the place of an incomplete one.
  mutating func add(_ excerpt: EventHistory.Excerpt, _ filter: EventFilter, after start: UInt64 = 0) {
    if excerpt.isIncomplete {
      return add(reset: excerpt.position, "Older events are no longer known.")
    }
    for entry in excerpt.entries where entry.sequence > start && filter.admits(entry) && take() {
      let position = EventPosition(epoch: excerpt.position.epoch, sequence: entry.sequence)
      events.append(PlacedEvent(position: position, event: entry.event))
    }
  }

  mutating func add(reset position: EventPosition, _ why: String) {
    if take() { events.append(PlacedEvent(position: position, event: .now("reset", detail: why))) }
  }

  private mutating func take() -> Bool {
    guard let left = remaining else { return true }
    remaining = max(0, left - 1)
    return left > 0
  }
}
