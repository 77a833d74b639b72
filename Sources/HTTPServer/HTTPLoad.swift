import LinuxSupport
import Synchronization

/// How many connections and waiting requests a server has, and how many it may have. Any thread.
///
/// One value serves one server and its handler: the server counts, and the handler asks before it lets a request wait.
public final class HTTPLoad: Sendable {
  /// Connections that are served without regard to what they ask for. Past this limit the server first closes idle ones.
  /// Where there are none it keeps some connections in reserve, for the requests that the handler calls essential.
  public let connectionLimit: Int
  /// Requests that may wait at the same time: suspended ones and streams together.
  public let waitingLimit: Int

  private let report: @Sendable (String) -> Void
  // The counts order nothing else: relaxed.
  private let opened = Atomic(0)
  /// Connections that are being closed to make room, and are not closed yet.
  private let leaving = Atomic(0)
  private let suspended = Atomic(0)
  private let streaming = Atomic(0)
  private let lastReports = [ReportTime(), ReportTime()]

  /// `report` receives a line when a limit is reached, at most one a minute for each limit, on any thread.
  public init(
    connectionLimit: Int = 1024, waitingLimit: Int = 512, report: @escaping @Sendable (String) -> Void = { _ in }
  ) {
    self.connectionLimit = connectionLimit
    self.waitingLimit = waitingLimit
    self.report = report
  }

  /// Open connections.
  public var connections: Int { opened.load(ordering: .relaxed) }

  /// Requests that wait for their answer.
  public var waiting: Int { suspended.load(ordering: .relaxed) }

  /// Streams that have not ended.
  public var streams: Int { streaming.load(ordering: .relaxed) }

  /// Whether one more request may wait. Asked by the handler before it suspends a request or begins a stream, unless that
  /// request is essential; it answers 429 otherwise. Threads that ask at the same moment may each get the last place.
  public func admitsWaiting() -> Bool {
    if waiting + streams < waitingLimit { return true }
    report(.waiting, "\(waitingLimit) requests wait, as many as may; others get 429 where they would have to wait")
    return false
  }

  // MARK: The server's side

  /// Whether there is room for the connections that are open, but for those that are closing.
  var hasRoom: Bool { connections - leaving.load(ordering: .relaxed) <= connectionLimit }

  func connectionOpened() { opened.add(1, ordering: .relaxed) }
  func connectionClosed() { opened.subtract(1, ordering: .relaxed) }
  func leavingBegan() { leaving.add(1, ordering: .relaxed) }
  func leavingEnded() { leaving.subtract(1, ordering: .relaxed) }
  func waitBegan() { suspended.add(1, ordering: .relaxed) }
  func waitEnded() { suspended.subtract(1, ordering: .relaxed) }
  func streamBegan() { streaming.add(1, ordering: .relaxed) }
  func streamEnded() { streaming.subtract(1, ordering: .relaxed) }

  func reportFull() {
    report(
      .connections,
      "\(connections) connections are open and none of them is idle; those beyond \(connectionLimit) get 503, but for "
        + "essential requests")
  }

  private enum Limit: Int { case connections, waiting }

  private final class ReportTime: Sendable {
    /// CLOCK_MONOTONIC nanoseconds; 0 before the first report.
    let last = Atomic<UInt64>(0)
  }

  private func report(_ limit: Limit, _ line: @autoclosure () -> String) {
    let (time, now) = (lastReports[limit.rawValue], MonotonicClock.now())
    let last = time.last.load(ordering: .relaxed)
    guard last == 0 || now - last >= 60_000_000_000 else { return }
    // Of several threads one reports.
    if time.last.compareExchange(expected: last, desired: now, ordering: .relaxed).exchanged { report(line()) }
  }
}
