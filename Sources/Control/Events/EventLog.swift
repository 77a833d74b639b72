import APIModel
import Access
import JSONCodec
import LinuxSupport
import Synchronization

/// What happens to VMs, leases and pools, as it happens: a bounded history, and the subscribers.
///
/// Publishing takes a microsecond, and a lock that is held for no longer than it takes to copy some references. A thread
/// of the log sends the events, many at a time when they come fast. It waits for no subscriber: the HTTP server drops one
/// whose connection holds too much back.
public final class EventLog: Sendable {
  /// How much an event log keeps and grants.
  public struct Configuration: Sendable {
    /// Events kept for subscribers that come back; at least 1.
    public var history: Int
    /// Subscribers at a time.
    public var subscribers: Int
    /// Milliseconds between two calls of a receiver's `reached`, which find out whether its client is there.
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
    /// When the next heartbeat is due.
    var heartbeat: DeadlineTimer?
    var subscriptions: [UInt64: EventSubscription] = [:]
    var lastSubscription: UInt64 = 0
  }

  private let configuration: Configuration
  /// Guards all of `State`. The locks of receivers may be taken inside it; the publisher may hold locks of its own.
  private let state: Mutex<State>
  private let seats: EventSeats
  /// Sends events, in order. The log has at most one flush and one heartbeat in its queue.
  let sender = WorkerPool(name: "events", threads: 1, queueLimit: 8)

  /// A log without events.
  public init(_ configuration: Configuration = Configuration()) {
    self.configuration = configuration
    seats = EventSeats(configuration.subscribers)
    state = Mutex(State(history: EventHistory(capacity: configuration.history)))
  }

  // MARK: Publishing

  /// Appends an event of a tenant, whose pool has the server's name. From any thread; never waits for a subscriber, and calls none.
  public func publish(_ event: EventDocument, of tenant: Tenant = .standard) {
    var event = event
    if let detail = event.detail { event.detail = detail.clipped(to: 500) }
    let flushIsNew = state.withLock { [event] state in
      state.history.append(event, of: tenant)
      guard !state.subscriptions.isEmpty else {
        state.flushed = state.history.last
        return false
      }
      defer { state.flushIsDue = true }
      return !state.flushIsDue
    }
    if !flushIsNew { return }
    do throws(WorkerPool.Refusal) {
      try sender.submit { self.flush() }
    } catch {
      // The system gives no thread. The next event, or the next heartbeat, tries again.
      state.withLock { $0.flushIsDue = false }
    }
  }

  /// Sends what was published since the last time. On the sender's thread.
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

  /// A place for a subscriber that wants the events after `lastEventID`, if the history reaches back so far; `limit` of
  /// them at most, if given. Throws where all places are taken, or all that `tenant` may have (`quota`).
  public func ticket(
    for filter: EventFilter, of tenant: Tenant = .standard, quota: Int? = nil, after lastEventID: String?, limit: Int?
  ) throws(EventRefusal) -> EventTicket {
    let seat = try seats.take(for: tenant, quota: quota)
    let opening = state.withLock { $0.history.opening(after: lastEventID, filter, limit: limit) }
    return EventTicket(opening: opening, filter: filter, seat: seat)
  }

  /// Has `receiver` get what follows upon the opening of `ticket`, until `unsubscribe` is called with the number that this
  /// returns.
  public func subscribe(_ ticket: EventTicket, _ receiver: any EventReceiver) -> UInt64 {
    let subscription = EventSubscription(ticket, receiver)
    let (key, beatIsNew) = state.withLock { state in
      // What was flushed since the opening, before anything newer can be.
      subscription.deliver(state.history.entries(after: subscription.start.sequence, through: state.flushed))
      state.lastSubscription += 1
      state.subscriptions[state.lastSubscription] = subscription
      defer { state.isBeating = true }
      return (state.lastSubscription, !state.isBeating)
    }
    if beatIsNew { scheduleHeartbeat() }
    return key
  }

  /// Ends a subscription. From any thread, also within a receiver's call; does nothing where it has ended.
  public func unsubscribe(_ key: UInt64) {
    // Freed outside the lock.
    let removed = state.withLock { $0.subscriptions.removeValue(forKey: key) }
    withExtendedLifetime(removed) {}
  }

  // MARK: Heartbeat

  private func scheduleHeartbeat() {
    let timer = DeadlineTimer()
    // The last one has fired. It is freed outside the lock.
    let last = state.withLock { $0.heartbeat.replaced(by: timer) }
    timer.arm(afterNS: UInt64(configuration.heartbeatMS) * 1_000_000) { [weak self] in self?.heartbeatIsDue() }
    withExtendedLifetime(last) {}
  }

  private func heartbeatIsDue() {
    do throws(WorkerPool.Refusal) {
      try sender.submit { [weak self] in self?.beat() }
    } catch {
      scheduleHeartbeat()
    }
  }

  /// On the sender's thread: everything up to `flushed` has been sent.
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

extension Optional {
  /// Puts `value` here, and returns what was here.
  fileprivate mutating func replaced(by value: Wrapped) -> Wrapped? {
    defer { self = value }
    return self
  }
}
