import Glibc
import Synchronization
import SystemPackage

/// An HTTP/1.1 server: turns connections into requests and gives them to one handler.
///
/// All methods may be called from any thread but the server's own, that is, not from the handler.
public final class HTTPService: Sendable {
  private enum Lifecycle {
    case new
    case running([Listener], ClientWatch)
    case stopped
  }

  private struct Listener {
    var address: ListenAddress
    var threads: [ServerThread]
    var path: OwnedSocketPath?
  }

  private let core: ServerCore
  /// Guards the lifecycle. Nothing is called under it that could come back here.
  private let lifecycle = Mutex<Lifecycle>(.new)

  /// Checks the configuration; nothing listens yet.
  public init(configuration: HTTPServerConfiguration, handler: any HTTPHandler) throws(HTTPServerError) {
    if let defect = configuration.defect { throw .invalidConfiguration(defect) }
    guard let reading = MicroHTTP.reading(of: MicroHTTP.version) else { throw .unknownLibrary(MicroHTTP.version) }
    core = ServerCore(configuration, handler, reading)
  }

  deinit { stop() }

  /// What an operator should know of the libmicrohttpd that is loaded; nil where there is nothing to know.
  public static var libraryWarning: String? {
    guard MicroHTTP.reading(of: MicroHTTP.version) == .strict else { return nil }
    return "libmicrohttpd \(MicroHTTP.version) is loaded; the rules for requests were tried in full with 0.9.75 alone"
  }

  /// Binds every address and starts the threads; when one address fails, none stays bound. Once per server.
  public func start() throws(HTTPServerError) {
    try lifecycle.withLock { (state) throws(HTTPServerError) in
      guard case .new = state else { throw .alreadyStarted }
      state = try startListeners()
    }
  }

  /// Where the server listens, in the order configured, a port 0 replaced by the one the kernel chose. Empty before
  /// `start` and after `stop`.
  public var boundAddresses: [ListenAddress] {
    lifecycle.withLock { if case .running(let listeners, _) = $0 { listeners.map(\.address) } else { [] } }
  }

  /// Connections that are watched for their clients' leaving, for tests.
  var watchedConnections: Int {
    lifecycle.withLock { if case .running(_, let watch) = $0 { watch.count } else { 0 } }
  }

  /// Connections that begin from now on get these credentials; those that are there keep theirs. For a server whose
  /// configuration has credentials; otherwise it does nothing. From any thread.
  public func use(_ credentials: TLSCredentials) {
    core.credentials.withLock { if $0 != nil { $0 = credentials } }
  }

  /// From now on every answer closes its connection. New connections are still accepted, so that the handler can
  /// send load balancers elsewhere.
  public func beginDraining() { core.draining.store(true, ordering: .relaxed) }

  /// Ends everything. Suspended requests get the handler's answer to `.shuttingDown`, and streams end; half a second is
  /// left to send both. Cuts other answers that are not sent yet, closes all sockets and joins all threads. Later calls do
  /// nothing.
  public func stop() {
    let previous = lifecycle.withLock { state in
      defer { state = .stopped }
      return state
    }
    guard case .running(let listeners, let watch) = previous else { return }
    beginDraining()
    Self.stop(listeners)
    core.threads.withLock { $0 = [] }
    watch.stop()
    core.disk.stop()
  }

  private func startListeners() throws(HTTPServerError) -> Lifecycle {
    var listeners: [Listener] = []
    let watch: ClientWatch
    do throws(Errno) {
      watch = try ClientWatch.start()
    } catch {
      throw .system(
        operation: "watch for clients that leave", address: core.configuration.listen[0], reason: "\(error)")
    }
    do throws(HTTPServerError) {
      for address in core.configuration.listen { listeners.append(try startListener(address, watch)) }
      let threads = listeners.flatMap(\.threads)
      core.threads.withLock { $0 = threads }
      return .running(listeners, watch)
    } catch {
      Self.stop(listeners)
      watch.stop()
      throw error
    }
  }

  private func startListener(_ address: ListenAddress, _ watch: ClientWatch) throws(HTTPServerError) -> Listener {
    let socket = try ListenSocket.listening(on: address)
    var listener = Listener(address: socket.bound, threads: [], path: nil)
    let speaksTLS = core.configuration.credentials != nil && !socket.bound.isUnix
    while listener.threads.count < core.configuration.threads {
      guard let thread = ServerThread.start(core, watch, listeningOn: socket.descriptor, speaksTLS: speaksTLS)
      else {
        Self.stop([listener])
        throw .daemonFailed(address)
      }
      listener.threads.append(thread)
    }
    listener.path = socket.releasePath()
    return listener
  }

  private static func stop(_ listeners: [Listener]) {
    let threads = listeners.flatMap(\.threads)
    for thread in threads { thread.requestStop() }
    for thread in threads { thread.join() }
    for listener in listeners { listener.path?.remove() }
  }
}
