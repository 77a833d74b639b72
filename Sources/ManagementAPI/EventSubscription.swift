import HTTPServer
import LinuxSupport
import Synchronization

/// A client that listens to events.
final class EventSubscription: Sendable {
  let stream: HTTPStream
  /// Where it began: what came before is none of its business, or was its answer's beginning.
  let start: EventPosition
  private let filter: EventFilter
  private let seat: EventSeats.Seat
  private let timer = DeadlineTimer()
  /// How many events it still wants; nil: any number. Guarded because the first delivery and the later ones are on
  /// different threads. The stream's lock is taken inside it, and it is taken inside the log's.
  private let remaining: Mutex<Int?>

  init(_ stream: HTTPStream, _ filter: EventFilter, after start: EventPosition, limit: Int?, _ seat: EventSeats.Seat) {
    self.stream = stream
    self.start = start
    self.filter = filter
    self.seat = seat
    remaining = Mutex(limit)
  }

  /// Sends what it wants of that, and ends with the last event that it wants.
  func deliver(_ excerpt: EventHistory.Excerpt) {
    remaining.withLock { remaining in
      var batch = EventBatch(limit: remaining)
      batch.add(excerpt, filter, after: start.sequence)
      remaining = batch.remaining
      if !batch.text.isEmpty { stream.send(batch.text) }
      if remaining == 0 { stream.finish() }
    }
  }

  /// Sends where events are by now, which also shows whether the client still listens.
  func beat(_ position: EventPosition) {
    stream.send(EventText.heartbeat(position.sequence < start.sequence ? start : position))
  }

  /// Ends it after a while.
  func end(afterMS milliseconds: Int) {
    timer.arm(afterNS: UInt64(milliseconds) * 1_000_000) { [stream] in stream.finish() }
  }
}

/// How many may listen at the same time.
final class EventSeats: Sendable {
  private let limit: Int
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
