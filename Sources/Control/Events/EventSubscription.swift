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

/// All places of an event log are taken.
public struct EventSeatsTaken: Error, Sendable, CustomStringConvertible {
  /// How many there are.
  public let limit: Int

  /// What happened, and what to do next.
  public var description: String { "\(limit) clients listen already; come back later" }
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
  // A mere count: relaxed.
  private let count = Atomic(0)

  init(_ limit: Int) { self.limit = limit }

  var taken: Int { count.load(ordering: .relaxed) }

  /// A seat, free again when it is let go of; nil when there is none.
  func take() -> Seat? {
    guard count.add(1, ordering: .relaxed).newValue <= limit else {
      count.subtract(1, ordering: .relaxed)
      return nil
    }
    return Seat(self)
  }

  final class Seat: Sendable {
    private let seats: EventSeats
    fileprivate init(_ seats: EventSeats) { self.seats = seats }
    deinit { seats.count.subtract(1, ordering: .relaxed) }
  }
}
