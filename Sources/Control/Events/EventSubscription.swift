import Access
import Synchronization

/// Takes the events of one subscriber. The log calls it on any thread, one call at a time and under locks of its own: it
/// must not block.
public protocol EventReceiver: Sendable {
  /// Takes events, in order.
  func receive(_ events: [PlacedEvent])
  /// Learns, every few seconds, that it has received all events up to `position` or has not asked for them.
  func reached(_ position: EventPosition)
  /// Has received all that it wants.
  func finish()
}

/// A place among those that receive events. It is free again when the last copy of this value is gone.
public struct EventTicket: Sendable {
  /// What the subscriber gets before all else.
  public let opening: EventOpening
  let filter: EventFilter
  let seat: EventSeats.Seat
}

/// Why there is no place for one more subscriber.
public enum EventRefusal: Error, Sendable, CustomStringConvertible {
  /// All places of the event log are taken: so many.
  case full(limit: Int)
  /// The tenant has all streams that it may have.
  case quota(QuotaRefusal)

  /// What happened, and what to do next.
  public var description: String {
    switch self {
    case .full(let limit): "\(limit) clients listen already; come back later"
    case .quota(let refusal): "\(refusal)"
    }
  }
}

/// A receiver of events, from its beginning on.
final class EventSubscription: Sendable {
  /// The sequence of the last event before it began.
  let start: EventPosition
  private let filter: EventFilter
  private let seat: EventSeats.Seat
  private let receiver: any EventReceiver
  /// How many events it still wants; nil: any number. Guarded because the first delivery and the later ones are on
  /// different threads. It is taken inside the log's lock; the receiver's locks are taken inside it.
  private let remaining: Mutex<Int?>

  init(_ ticket: EventTicket, _ receiver: any EventReceiver) {
    start = ticket.opening.position
    filter = ticket.filter
    seat = ticket.seat
    self.receiver = receiver
    remaining = Mutex(ticket.opening.remaining)
  }

  /// Sends what it wants of that, and ends with the last event that it wants.
  func deliver(_ excerpt: EventHistory.Excerpt) {
    remaining.withLock { remaining in
      var batch = EventBatch(limit: remaining)
      batch.add(excerpt, filter, after: start.sequence)
      remaining = batch.remaining
      if !batch.events.isEmpty { receiver.receive(batch.events) }
      if remaining == 0 { receiver.finish() }
    }
  }

  /// Says where events are by now.
  func beat(_ position: EventPosition) {
    receiver.reached(position.sequence < start.sequence ? start : position)
  }
}

/// How many may listen at the same time.
final class EventSeats: Sendable {
  let limit: Int
  /// How many each tenant has; a leaf lock.
  private let counts = Mutex<[Tenant: Int]>([:])

  init(_ limit: Int) { self.limit = limit }

  var taken: Int { counts.withLock { $0.values.reduce(0, +) } }

  /// A seat, free again when it is let go of. `quota`: how many the tenant may have.
  func take(for tenant: Tenant, quota: Int?) throws(EventRefusal) -> Seat {
    try counts.withLock { counts throws(EventRefusal) in
      let own = counts[tenant] ?? 0
      if let quota, own >= quota { throw .quota(QuotaRefusal(of: tenant, quota: .streams, limit: quota)) }
      guard counts.values.reduce(0, +) < limit else { throw .full(limit: limit) }
      counts[tenant] = own + 1
    }
    return Seat(self, tenant)
  }

  private func free(_ tenant: Tenant) {
    counts.withLock { counts in counts[tenant] = counts[tenant].flatMap { $0 > 1 ? $0 - 1 : nil } }
  }

  final class Seat: Sendable {
    private let seats: EventSeats
    private let tenant: Tenant

    fileprivate init(_ seats: EventSeats, _ tenant: Tenant) {
      self.seats = seats
      self.tenant = tenant
    }

    deinit { seats.free(tenant) }
  }
}
