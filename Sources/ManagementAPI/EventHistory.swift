import APIModel

/// The last events of this run of the server, in order.
struct EventHistory {
  /// One event. It is put into words when it is sent: the publisher has other things to do.
  struct Entry: Sendable {
    let sequence: UInt64
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

  mutating func append(_ event: EventDocument) {
    let place = Int(last % UInt64(capacity))
    last += 1
    let entry = Entry(sequence: last, event: event)
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

  /// What a new subscriber gets first.
  struct Opening: Sendable {
    var text: [UInt8]
    /// Everything up to here is in it, or was not asked for.
    var position: EventPosition
    /// How many events it is to get in addition; nil: any number.
    var remaining: Int?
  }

  /// For a subscriber that has seen everything up to `lastEventID`, or nothing.
  func opening(after lastEventID: String?, _ filter: EventFilter, limit: Int?) -> Opening {
    var batch = EventBatch(limit: limit)
    var opening = Opening(text: EventText.retry, position: position(last))
    if let lastEventID {
      if let seen = EventPosition(lastEventID), seen.epoch == epoch, seen.sequence <= last {
        batch.add(entries(after: seen.sequence), filter)
      } else {
        batch.add(reset: opening.position, "That id is not of this run of the server.")
      }
    }
    opening.text += batch.text
    opening.remaining = batch.remaining
    // Where to go on even if none of them was for this subscriber.
    if batch.remaining != 0 { opening.text += EventText.mark(opening.position) }
    return opening
  }
}

/// Which events a subscriber wants; a reset goes to everybody.
struct EventFilter: Sendable {
  var pool: String?
  var vm: String?

  func admits(_ entry: EventHistory.Entry) -> Bool {
    (pool == nil || pool == entry.event.pool) && (vm == nil || vm == entry.event.vm)
  }
}

/// Events for one subscriber, as they go over the wire; no more than it wants.
struct EventBatch {
  private(set) var text: [UInt8] = []
  private(set) var remaining: Int?

  init(limit: Int?) { remaining = limit }

  /// What the subscriber wants of an excerpt, or a reset in the place of an incomplete one.
  mutating func add(_ excerpt: EventHistory.Excerpt, _ filter: EventFilter, after start: UInt64 = 0) {
    if excerpt.isIncomplete {
      return add(reset: excerpt.position, "Older events are no longer known.")
    }
    for entry in excerpt.entries where entry.sequence > start && filter.admits(entry) && take() {
      text += EventText.idLine(EventPosition(epoch: excerpt.position.epoch, sequence: entry.sequence))
      text += EventText.event(entry.event)
    }
  }

  mutating func add(reset position: EventPosition, _ why: String) {
    if take() { text += EventText.idLine(position) + EventText.event(.now("reset", detail: why)) }
  }

  private mutating func take() -> Bool {
    guard let left = remaining else { return true }
    remaining = max(0, left - 1)
    return left > 0
  }
}
