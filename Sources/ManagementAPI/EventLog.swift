public import APIModel
import Dispatch
import HTTPServer
import Synchronization

/// What happens to VMs, leases and pools, as it happens: a bounded history, and those who listen.
///
/// Publishing takes a microsecond, and a lock that is held for no longer than it takes to copy some references. Events
/// go out from a queue of their own, many at a time when they come fast. No thread waits for a subscriber: one whose
/// connection holds too much back is dropped by the HTTP server.
public final class EventLog: Sendable {
  /// How much an event log keeps and grants.
  public struct Configuration: Sendable {
    /// Events kept for subscribers that come back; at least 1.
    public var history: Int
    /// Subscribers at a time.
    public var subscribers: Int
    /// Milliseconds between the comments that keep a stream alive and find out whether its client is.
    public var heartbeatMS: Int

    /// A configuration.
    public init(history: Int = 16_384, subscribers: Int = 64, heartbeatMS: Int = 15_000) {
      self.history = history
      self.subscribers = subscribers
      self.heartbeatMS = heartbeatMS
    }
  }

  private struct State {
    var history: EventHistory
    /// Up to this one, subscribers have been sent what there is.
    var flushed: UInt64 = 0
    var flushIsDue = false
    var isBeating = false
    var subscriptions: [UInt64: EventSubscription] = [:]
    var lastSubscription: UInt64 = 0
  }

  private let configuration: Configuration
  /// Guards all of `State`. The locks of streams may be taken inside it; the publisher may hold locks of its own.
  private let state: Mutex<State>
  private let seats: EventSeats
  /// Events go out from here, in order.
  let queue = DispatchQueue(label: "vmpool.api.events")

  /// A log without events.
  public init(_ configuration: Configuration = Configuration()) {
    self.configuration = configuration
    seats = EventSeats(configuration.subscribers)
    state = Mutex(State(history: EventHistory(capacity: configuration.history)))
  }

  // MARK: Publishing

  /// Appends an event. From any thread; never waits for a subscriber, and calls no code of others.
  public func publish(_ event: EventDocument) {
    var event = event
    if let detail = event.detail { event.detail = detail.clipped(to: 500) }
    let flushIsNew = state.withLock { [event] state in
      state.history.append(event)
      guard !state.subscriptions.isEmpty else {
        state.flushed = state.history.last
        return false
      }
      defer { state.flushIsDue = true }
      return !state.flushIsDue
    }
    if flushIsNew { queue.async { self.flush() } }
  }

  /// Sends what was published since the last time. On the queue.
  private func flush() {
    let (news, subscriptions) = state.withLock { state in
      state.flushIsDue = false
      let news = state.history.entries(after: state.flushed)
      state.flushed = state.history.last
      return (news, Array(state.subscriptions.values))
    }
    for subscription in subscriptions { subscription.deliver(news) }
  }

  // MARK: Subscribing

  /// How many listen.
  var subscribers: Int { seats.taken }

  /// The answer to a client that wants events: those after `lastEventID`, if the history reaches back so far; `limit` of
  /// them or those of `timeoutMS` milliseconds at most, if given.
  func subscribe(
    _ filter: EventFilter, after lastEventID: String?, limit: Int?, timeoutMS: Int?
  ) throws(APIProblem) -> HTTPResponse {
    guard let seat = seats.take() else {
      throw APIProblem(.resourcesExhausted, "\(configuration.subscribers) clients listen already; come back later.")
    }
    let opening = state.withLock { $0.history.opening(after: lastEventID, filter, limit: limit) }
    var response = HTTPResponse.dynamic(status: 200, type: "text/event-stream", body: opening.text)
    response.stream = { stream in
      guard opening.remaining != 0 else { return stream.finish() }
      let subscription = EventSubscription(stream, filter, after: opening.position, limit: opening.remaining, seat)
      self.begin(subscription)
      if let timeoutMS { subscription.end(afterMS: timeoutMS) }
    }
    return response
  }

  private func begin(_ subscription: EventSubscription) {
    let (key, beatIsNew) = state.withLock { state in
      // What was flushed since the opening, before anything newer can be.
      subscription.deliver(state.history.entries(after: subscription.start.sequence, through: state.flushed))
      state.lastSubscription += 1
      state.subscriptions[state.lastSubscription] = subscription
      defer { state.isBeating = true }
      return (state.lastSubscription, !state.isBeating)
    }
    subscription.stream.whenClosed { self.remove(key) }
    if beatIsNew { scheduleHeartbeat() }
  }

  private func remove(_ key: UInt64) {
    // Freed outside the lock.
    let removed = state.withLock { $0.subscriptions.removeValue(forKey: key) }
    withExtendedLifetime(removed) {}
  }

  // MARK: Heartbeat

  private func scheduleHeartbeat() {
    queue.asyncAfter(deadline: .now() + .milliseconds(configuration.heartbeatMS)) { [weak self] in self?.beat() }
  }

  /// On the queue: everything up to `flushed` has been sent.
  private func beat() {
    let (position, subscriptions) = state.withLock { state in
      state.isBeating = !state.subscriptions.isEmpty
      return (state.history.position(state.flushed), Array(state.subscriptions.values))
    }
    guard !subscriptions.isEmpty else { return }
    for subscription in subscriptions { subscription.beat(position) }
    scheduleHeartbeat()
  }
}
