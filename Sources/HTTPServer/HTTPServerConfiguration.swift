/// How a server listens and what it grants its clients.
public struct HTTPServerConfiguration: Sendable {
  /// At least one.
  public var listen: [ListenAddress]
  /// Longest body in bytes; 1 MiB unless set.
  public var bodyLimit = 1 << 20
  /// Seconds a client has to send a request from its request line on, and again to take the answer. A client that keeps to
  /// 256 KiB in that time has as long as it needs.
  public var requestDeadline = 30
  /// Seconds without a byte either way after which a connection is closed.
  public var inactivityTimeout = 60
  /// The limits on connections and waiting requests, and their counts. For one server alone.
  public var load = HTTPLoad()
  /// Bytes per connection for the request's head and buffers; at least 4096. libmicrohttpd clears them all for every
  /// request, which is felt when they fill the processor's first cache.
  public var connectionMemoryLimit = 16 << 10
  /// Bytes of a stream that may wait for its client, beyond the hundred KiB that the kernel takes. The server cuts off a
  /// client that lets more of them wait.
  public var streamBacklogLimit = 256 << 10
  /// With these, TCP sockets speak TLS 1.2 and 1.3, and nothing else; unix sockets never do. See `HTTPService.use(_:)`.
  public var credentials: TLSCredentials?
  /// Threads per listen address.
  public var threads = 2
  /// Receives libmicrohttpd's own diagnostics, one line each, on its threads. Clients can provoke them: limit the rate.
  public var diagnostics: (@Sendable (String) -> Void)?

  /// Listens at the given addresses, with the defaults for the rest.
  public init(listen: [ListenAddress]) { self.listen = listen }

  /// What makes no sense, if anything.
  var defect: String? {
    if listen.isEmpty { return "no address to listen at; give at least one" }
    if bodyLimit < 0 || bodyLimit > Int.max / 2 { return "the body limit is out of range" }
    if !(1...86400).contains(requestDeadline) { return "the request deadline must be 1 to 86400 seconds" }
    if !(1...86400).contains(inactivityTimeout) { return "the inactivity timeout must be 1 to 86400 seconds" }
    if !(1...256).contains(threads) { return "the number of HTTP threads must be 1 to 256" }
    if !(1...1_000_000).contains(load.connectionLimit) { return "the connection limit must be 1 to 1000000" }
    if !(1...1_000_000).contains(load.waitingLimit) { return "the limit of waiting requests must be 1 to 1000000" }
    if !(1...(1 << 30)).contains(streamBacklogLimit) {
      return "the backlog limit of a stream must be 1 byte to 1 GiB"
    }
    if !(4096...(16 << 20)).contains(connectionMemoryLimit) {
      return "the memory limit of a connection must be 4096 bytes to 16 MiB"
    }
    return nil
  }
}

/// Why a server cannot be made or started; each says what to do next.
public enum HTTPServerError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The configuration makes no sense; says why.
  case invalidConfiguration(String)
  /// Another process listens there.
  case addressInUse(ListenAddress)
  /// Binding needs a right this process has not.
  case permissionDenied(ListenAddress)
  /// No interface of this machine has the address.
  case addressNotAvailable(ListenAddress)
  /// The name has no address; says the resolver's reason.
  case unresolvable(ListenAddress, reason: String)
  /// The path exists and is not a socket; it is left alone.
  case notASocket(path: String)
  /// The descriptor is not a listening stream socket.
  case notListening(fd: Int32)
  /// A system call failed.
  case system(operation: String, address: ListenAddress, reason: String)
  /// libmicrohttpd could not start its threads; it told `diagnostics` more.
  case daemonFailed(ListenAddress)
  /// `start` was called before; a server starts once.
  case alreadyStarted

  /// One line for an operator: what happened, to what, what to do next.
  public var description: String {
    switch self {
    case .invalidConfiguration(let reason): reason
    case .addressInUse(let address):
      "address already in use: another process listens on \(address); stop it or choose --listen"
    case .permissionDenied(let address):
      "permission denied to listen on \(address); choose a port above 1023 or a directory this user may write to"
    case .addressNotAvailable(let address):
      "no interface of this machine has the address of \(address); see `ip address`, or choose --listen"
    case .unresolvable(let address, let reason):
      "cannot resolve the host of \(address): \(reason); give a numeric address"
    case .notASocket(let path):
      "\(path) exists and is not a socket; remove it or choose another path"
    case .notListening(let fd):
      "inherited descriptor \(fd) is not a listening stream socket; check the socket unit"
    case .system(let operation, let address, let reason):
      "cannot listen on \(address): \(operation): \(reason)"
    case .daemonFailed(let address):
      "cannot start the HTTP threads for \(address); check the limits on threads and descriptors (ulimit -u, ulimit -n)"
    case .alreadyStarted:
      "the HTTP server was started before; make a new one"
    }
  }
}
