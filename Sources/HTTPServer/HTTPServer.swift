import Glibc
import Synchronization

/// An HTTP/1.1 server: turns connections into requests and gives them to one handler.
///
/// All methods may be called from any thread but the server's own, that is, not from the handler.
public final class HTTPServer: Sendable {
  private enum Lifecycle {
    case new
    case running([Listener], DeadlineThread)
    case stopped
  }

  private struct Listener {
    var address: ListenAddress
    var daemons: [MHDDaemon]
    var path: OwnedSocketPath?
  }

  private let core: ServerCore
  private let log: MHDLog
  /// Guards the lifecycle. Nothing is called under it that could come back here.
  private let lifecycle = Mutex<Lifecycle>(.new)

  /// Checks the configuration; nothing listens yet.
  public init(configuration: HTTPServerConfiguration, handler: any HTTPHandler) throws(HTTPServerError) {
    if let defect = configuration.defect { throw .invalidConfiguration(defect) }
    core = ServerCore(configuration, handler)
    log = MHDLog(core)
  }

  deinit { stop() }

  /// Binds every address and starts the threads; when one address fails, none stays bound. Once per server.
  public func start() throws(HTTPServerError) {
    try lifecycle.withLock { (state) throws(HTTPServerError) in
      guard case .new = state else { throw .alreadyStarted }
      state = try Self.withSignalsBlocked { () throws(HTTPServerError) in try startThreads() }
    }
  }

  /// Where the server listens, in the order configured, a port 0 replaced by the one the kernel chose. Empty before
  /// `start` and after `stop`.
  public var boundAddresses: [ListenAddress] {
    lifecycle.withLock { if case .running(let listeners, _) = $0 { listeners.map(\.address) } else { [] } }
  }

  /// From now on every answer closes its connection. New connections are still accepted, so that the handler can tell
  /// load balancers to go elsewhere.
  public func beginDraining() { core.draining.store(true, ordering: .relaxed) }

  /// Ends everything: suspended requests get the handler's word for `.shuttingDown` (half a second is given to send
  /// it), other answers that are not sent yet are cut, sockets are closed, threads joined. Later calls do nothing.
  public func stop() {
    let previous = lifecycle.withLock { state in
      defer { state = .stopped }
      return state
    }
    guard case .running(let listeners, let deadlines) = previous else { return }
    beginDraining()
    core.stopping.store(true, ordering: .sequentiallyConsistent)
    answerSuspended()
    Self.stop(listeners)
    deadlines.stop()
  }

  /// libmicrohttpd aborts the process when it is stopped with a suspended connection.
  private func answerSuspended() {
    var open = core.openConnections().compactMap { connection in connection.suspendedExchange() }
    for exchange in open { exchange.refuseForStop() }
    let end = monotonicNS() + 500_000_000
    while true {
      open.removeAll { !$0.connection.isBusy(with: $0) }
      if open.isEmpty || monotonicNS() >= end { return }
      core.finished.wait(until: end)
    }
  }

  private func startThreads() throws(HTTPServerError) -> Lifecycle {
    guard let deadlines = DeadlineThread.start(core) else { throw .daemonFailed(core.configuration.listen[0]) }
    var listeners: [Listener] = []
    do throws(HTTPServerError) {
      for address in core.configuration.listen { listeners.append(try startListener(address)) }
      return .running(listeners, deadlines)
    } catch {
      Self.stop(listeners)
      deadlines.stop()
      throw error
    }
  }

  private func startListener(_ address: ListenAddress) throws(HTTPServerError) -> Listener {
    let socket = try ListenSocket.listening(on: address)
    var daemons: [MHDDaemon] = []
    while daemons.count < core.configuration.threads {
      guard let daemon = MHDDaemon(socket.descriptor, core, log) else {
        for daemon in daemons { daemon.stop() }
        throw .daemonFailed(address)
      }
      daemons.append(daemon)
    }
    let (bound, path) = socket.release()
    return Listener(address: bound, daemons: daemons, path: path)
  }

  private static func stop(_ listeners: [Listener]) {
    for listener in listeners {
      for daemon in listener.daemons { daemon.stop() }
      listener.path?.remove()
    }
  }

  /// Threads inherit the mask: none of those made in `body` takes a signal meant for the process.
  private static func withSignalsBlocked<Result>(
    _ body: () throws(HTTPServerError) -> Result
  ) throws(HTTPServerError) -> Result {
    var all = sigset_t()
    var previous = sigset_t()
    // SAFETY: each call reads or fills one whole sigset_t.
    unsafe sigfillset(&all)
    unsafe pthread_sigmask(SIG_BLOCK, &all, &previous)
    defer { unsafe pthread_sigmask(SIG_SETMASK, &previous, nil) }
    return try body()
  }
}
