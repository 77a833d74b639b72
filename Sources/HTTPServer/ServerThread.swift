import Glibc
import LinuxSupport
import Synchronization

/// One thread of the server, with a daemon of libmicrohttpd and the connections that it accepted.
///
/// The thread is ours, not libmicrohttpd's. Its loop takes at most 128 events at once, then waits for events once more, and
/// lets exactly those 128 wait until something else happens. We bound that wait. The same thread looks after deadlines, so
/// that two threads never touch one connection.
///
/// SAFETY (`@unchecked Sendable`): `daemon` and `log` are set before the thread starts; `connections` is used on the thread only.
final class ServerThread: @unchecked Sendable {
  let core: ServerCore
  let watch: ClientWatch

  private var log: MHDLog?
  private var daemon: MHDDaemon?
  private var connections: [Connection] = []
  /// Connections that may be closed for others. Other threads look before they ask for one: relaxed.
  let spare = Atomic(0)
  /// Connections to be closed for other threads' clients. The thread that adds one wakes this one: relaxed.
  private let owed = Atomic(0)
  /// A sink has answered in the middle of its body. As above.
  private let hasSinkAnswers = Atomic(false)
  /// Set once. Nothing else is handed over with it: relaxed.
  private let stops = Atomic(false)
  /// The thread's handle, taken by the one call that joins it.
  private let handle = Mutex<pthread_t?>(nil)

  /// Nil when the process is out of threads or descriptors.
  static func start(
    _ core: ServerCore, _ watch: ClientWatch, listeningOn socket: Int32, speaksTLS: Bool
  ) -> ServerThread? {
    let thread = ServerThread(core, watch)
    let log = MHDLog(thread)
    thread.log = log
    guard let daemon = MHDDaemon(socket, thread, log, speaksTLS: speaksTLS) else { return nil }
    thread.daemon = daemon
    var handle = pthread_t()
    // Safe: the thread takes over the reference given to it; the handle is written before the call returns.
    let retained = unsafe Unmanaged.passRetained(thread)
    guard unsafe pthread_create(&handle, nil, serverThreadMain, retained.toOpaque()) == 0 else {
      unsafe retained.release()
      daemon.stop()
      return nil
    }
    thread.handle.withLock { $0 = handle }
    return thread
  }

  private init(_ core: ServerCore, _ watch: ClientWatch) {
    self.core = core
    self.watch = watch
  }

  /// Asks the thread to answer what is suspended, end all streams, close everything and end.
  func requestStop() {
    stops.store(true, ordering: .relaxed)
    wake()
  }

  /// Ends the thread's wait for events, or its next one. From any thread.
  func wake() { daemon?.wake() }

  /// Waits for the end of the thread.
  func join() {
    if let joined = handle.withLock({ $0.take() }) { pthread_join(joined, nil) }
  }

  /// On this thread, as all that follows.
  var isStopping: Bool { stops.load(ordering: .relaxed) }

  func add(_ connection: Connection) {
    connection.index = connections.count
    connections.append(connection)
    core.load.connectionOpened()
    if !core.load.hasRoom { makeRoom(for: connection) }
  }

  func remove(_ connection: Connection) {
    core.load.connectionClosed()
    connection.isSpare = false
    if connection.isLeaving { core.load.leavingEnded() }
    let last = connections.removeLast()
    guard last !== connection else { return }
    connections[connection.index] = last
    last.index = connection.index
  }

  /// Takes a line of libmicrohttpd's diagnostics.
  func note(_ line: String) {
    core.configuration.diagnostics?(line)
    // libmicrohttpd 0.9.75 reports a malformed Content-Length before it sends its page, which has two heads. There is no
    // other callback in between, and the connection is the one whose head is complete but has not come to us.
    for connection in connections where connection.forestall(line) { return }
  }

  // MARK: Making room

  /// Connections past the limit, a thread, that are kept for essential requests.
  static let reserve = 64

  /// Closes the connection that has been idle longest, here or on another thread; where there is none, the new one is for
  /// essential requests alone. Of too many such, the oldest that has not sent its head goes.
  private func makeRoom(for connection: Connection) {
    if closeIdle() || core.threads.withLock({ $0.contains { $0 !== self && $0.owe() } }) { return }
    core.load.reportFull()
    connection.becomeReserve()
    var (count, oldest) = (0, Connection?.none)
    for other in connections where other.isReserve && !other.isLeaving {
      count += 1
      if other.isUnheardReserve, other.quietSince < oldest?.quietSince ?? .max { oldest = other }
    }
    guard count > Self.reserve, let oldest else { return }
    core.load.leavingBegan()
    oldest.leave()
  }

  private func closeIdle() -> Bool {
    var longest: Connection?
    for connection in connections where connection.isSpare && connection.quietSince < longest?.quietSince ?? .max {
      longest = connection
    }
    guard let longest else { return false }
    core.load.leavingBegan()
    longest.leave()
    return true
  }

  /// Has this thread close an idle connection soon. False when it has none to spare. From any thread.
  private func owe() -> Bool {
    // The last one may find work, or be asked for twice: one connection too many does no harm.
    guard spare.load(ordering: .relaxed) > owed.load(ordering: .relaxed) else { return false }
    core.load.leavingBegan()
    owed.add(1, ordering: .relaxed)
    wake()
    return true
  }

  private func payOwed() {
    for _ in 0..<owed.exchange(0, ordering: .relaxed) {
      // Counted when it was asked for.
      core.load.leavingEnded()
      _ = closeIdle()
    }
  }

  /// A sink has answered in the middle of its body. From any thread.
  func noteSinkAnswer() {
    hasSinkAnswers.store(true, ordering: .relaxed)
    wake()
  }

  // MARK: The loop

  fileprivate func run() {
    guard let daemon else { return }
    // An eighth of the deadline, so that no client gets much more time than it has. A quarter of the inactivity timeout,
    // so that an answer that moves is seen to move in time.
    let period = min(1_000_000_000, core.requestDeadlineNS / 8, core.inactivityTimeoutNS / 4)
    var next = MonotonicClock.coarse() + period
    while !isStopping {
      // The listening socket and the wake-up descriptor make events, too.
      run(daemon, milliseconds: connections.count < 126 ? Int32(period / 1_000_000) : 5)
      if owed.load(ordering: .relaxed) > 0 { payOwed() }
      if hasSinkAnswers.load(ordering: .relaxed), hasSinkAnswers.exchange(false, ordering: .relaxed) {
        for connection in connections { connection.exchange?.sendSinkAnswer() }
      }
      let now = MonotonicClock.coarse()
      guard now >= next else { continue }
      next = now + period
      for connection in connections { connection.inspect(now) }
    }
    finish(daemon)
  }

  /// libmicrohttpd aborts the process when it is stopped with a suspended connection.
  private func finish(_ daemon: MHDDaemon) {
    let waiting = connections.compactMap(\.exchange).filter { $0.endWaiting() }
    let end = MonotonicClock.now() + 500_000_000
    while !waiting.allSatisfy(\.isOver), MonotonicClock.now() < end { run(daemon, milliseconds: 5) }
    daemon.stop()
  }

  private func run(_ daemon: MHDDaemon, milliseconds: Int32) {
    if daemon.run(milliseconds: milliseconds) { return }
    // The diagnostics say why. It may pass; until then the loop must not spin.
    poll(nil, 0, 10)
  }
}

private func serverThreadMain(context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  // Safe: `start` retained the object for this thread.
  guard let context = unsafe context else { return nil }
  unsafe Unmanaged<ServerThread>.fromOpaque(context).takeRetainedValue().run()
  return nil
}
