import Glibc
import SystemPackage

/// A listening socket and the unix path it made, if any; both go with this value.
struct ListenSocket: ~Copyable {
  let descriptor: Int32
  /// What the socket is bound to: a chosen port filled in, a name resolved.
  private(set) var bound: ListenAddress
  private(set) var path: OwnedSocketPath?

  /// Makes and binds the socket, or checks the inherited one.
  static func listening(on address: ListenAddress) throws(HTTPServerError) -> ListenSocket {
    var socket: ListenSocket
    switch address {
    case .tcp(let host, let port): socket = ListenSocket(try tcp(host, port, address), address, nil)
    case .unix(let path):
      let (descriptor, owned) = try unix(path, address)
      socket = ListenSocket(descriptor, address, owned)
    case .inherited(let fd): socket = ListenSocket(try inherited(fd), address, nil)
    }
    socket.bound = try ListenAddress(boundTo: socket.descriptor)
    return socket
  }

  private init(_ descriptor: Int32, _ bound: ListenAddress, _ path: OwnedSocketPath?) {
    self.descriptor = descriptor
    self.bound = bound
    self.path = path
  }

  deinit {
    close(descriptor)
    path?.remove()
  }

  /// Gives the path away, whose taker removes it; the descriptor is closed.
  consuming func releasePath() -> OwnedSocketPath? { path.take() }

  private static func inherited(_ fd: Int32) throws(HTTPServerError) -> Int32 {
    guard option(fd, SO_ACCEPTCONN) == 1, option(fd, SO_TYPE) == Int32(SOCK_STREAM.rawValue) else {
      throw .notListening(fd: fd)
    }
    let flags = fcntl(fd, F_GETFL)
    try check(flags, "fcntl", .inherited(fd: fd))
    try check(fcntl(fd, F_SETFL, flags | O_NONBLOCK), "fcntl", .inherited(fd: fd))
    try check(fcntl(fd, F_SETFD, FD_CLOEXEC), "fcntl", .inherited(fd: fd))
    keepWatch(fd)
    return fd
  }

  private static func tcp(_ host: String, _ port: UInt16, _ address: ListenAddress) throws(HTTPServerError) -> Int32 {
    // Safe: the structure is a local without pointers in use; getaddrinfo(3) reads it and writes the list's head.
    var hints = unsafe addrinfo()
    unsafe hints.ai_family = AF_UNSPEC
    unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    unsafe hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV
    var list: UnsafeMutablePointer<addrinfo>?
    // Safe: hints is a whole addrinfo; list is freed below and not used after.
    let code = unsafe getaddrinfo(host, String(port), &hints, &list)
    guard code == 0 else {
      // Safe: gai_strerror(3) returns a constant string.
      throw .unresolvable(address, reason: unsafe String(cString: gai_strerror(code)))
    }
    defer { unsafe freeaddrinfo(list) }
    var failure = HTTPServerError.addressNotAvailable(address)
    var next = unsafe list
    // Safe: getaddrinfo(3) made a list that ends with a null pointer; its nodes live until freeaddrinfo.
    while let candidate = unsafe next {
      do throws(HTTPServerError) { return try unsafe tcp(candidate.pointee, address) } catch { failure = error }
      unsafe next = candidate.pointee.ai_next
    }
    throw failure
  }

  private static func tcp(_ candidate: addrinfo, _ address: ListenAddress) throws(HTTPServerError) -> Int32 {
    // Safe: a number of the structure is read.
    let family = unsafe candidate.ai_family
    let fd = try made(family, address)
    do throws(HTTPServerError) {
      try set(fd, SOL_SOCKET, SO_REUSEADDR, address)
      if family == AF_INET6 { try set(fd, Int32(IPPROTO_IPV6), IPV6_V6ONLY, address) }
      keepWatch(fd)
      // Safe: address and length come from getaddrinfo(3) together.
      try check(unsafe bind(fd, candidate.ai_addr, candidate.ai_addrlen), "bind", address)
      try check(listen(fd, SOMAXCONN), "listen", address)
      return fd
    } catch {
      close(fd)
      throw error
    }
  }

  private static func unix(
    _ path: String, _ address: ListenAddress
  ) throws(HTTPServerError) -> (Int32, OwnedSocketPath?) {
    guard (1..<UnixSocketPath.capacity).contains(path.utf8.count) else { throw failure("bind", address, ENAMETOOLONG) }
    try clearStale(path, address)
    let fd = try made(AF_UNIX, address)
    do throws(HTTPServerError) {
      // The kernel takes the path's mode from the socket, so that it is never open to others, not even briefly; the
      // second call gives back to the group what the umask took.
      try check(fchmod(fd, 0o660), "fchmod", address)
      // Safe: address and length come together.
      try check(unsafe withUnixAddress(path) { unsafe bind(fd, $0, $1) }, "bind", address)
      let owned = OwnedSocketPath(path)
      do throws(HTTPServerError) {
        // Safe: the path lives for the call.
        try check(unsafe chmod(path, 0o660), "chmod", address)
        try check(listen(fd, SOMAXCONN), "listen", address)
      } catch {
        owned?.remove()
        throw error
      }
      return (fd, owned)
    } catch {
      close(fd)
      throw error
    }
  }

  /// Removes a socket that no process listens on any more; anything else at the path stays and is an error.
  private static func clearStale(_ path: String, _ address: ListenAddress) throws(HTTPServerError) {
    var status = stat()
    // Safe: the kernel fills one whole stat structure.
    guard unsafe lstat(path, &status) == 0 else {
      if errno == ENOENT { return }
      throw failure("stat", address, errno)
    }
    guard status.st_mode & S_IFMT == S_IFSOCK else { throw .notASocket(path: path) }
    let fd = try made(AF_UNIX, address)
    defer { close(fd) }
    // Safe: address and length come together, here and below.
    if unsafe withUnixAddress(path, { unsafe connect(fd, $0, $1) }) == 0 { throw .addressInUse(address) }
    switch errno {
    case ECONNREFUSED: try check(unsafe unlink(path), "unlink", address)
    case EAGAIN: throw .addressInUse(address)
    default: throw failure("connect", address, errno)
    }
  }

  private static func made(_ family: Int32, _ address: ListenAddress) throws(HTTPServerError) -> Int32 {
    let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
    let fd = socket(family, type, 0)
    try check(fd, "socket", address)
    return fd
  }

  private static func set(
    _ fd: Int32, _ level: Int32, _ name: Int32, _ address: ListenAddress
  ) throws(HTTPServerError) {
    var on: Int32 = 1
    // Safe: the option is an int and so is `on`.
    try check(unsafe setsockopt(fd, level, name, &on, socklen_t(MemoryLayout<Int32>.size)), "setsockopt", address)
  }

  /// Has the kernel find out within a minute or so that a client's machine or the network to it has gone. It then closes the
  /// connection. Connections that it accepts here inherit that. A local socket does not know these options.
  private static func keepWatch(_ fd: Int32) {
    for (level, name, value) in [
      (SOL_SOCKET, SO_KEEPALIVE, 1), (Int32(IPPROTO_TCP), TCP_KEEPIDLE, 30), (Int32(IPPROTO_TCP), TCP_KEEPINTVL, 10),
      (Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, 60_000),
    ] as [(Int32, Int32, Int32)] {
      var value = value
      // Safe: each option is an int and so is `value`.
      unsafe setsockopt(fd, level, name, &value, socklen_t(MemoryLayout<Int32>.size))
    }
  }

  private static func option(_ fd: Int32, _ name: Int32) -> Int32? {
    var value: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    // Safe: the option is an int and so is `value`.
    return unsafe getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : nil
  }

  private static func check(_ result: Int32, _ operation: String, _ address: ListenAddress) throws(HTTPServerError) {
    if result < 0 { throw failure(operation, address, errno) }
  }

  private static func failure(_ operation: String, _ address: ListenAddress, _ code: Int32) -> HTTPServerError {
    switch code {
    case EADDRINUSE: .addressInUse(address)
    case EACCES, EPERM: .permissionDenied(address)
    case EADDRNOTAVAIL: .addressNotAvailable(address)
    default: .system(operation: operation, address: address, reason: Errno(rawValue: code).description)
    }
  }
}

/// A path that was bound here and is still the same file.
struct OwnedSocketPath: Sendable {
  private let path: String
  private let device: dev_t
  private let inode: ino_t

  init?(_ path: String) {
    guard let (device, inode) = Self.identity(path) else { return nil }
    (self.path, self.device, self.inode) = (path, device, inode)
  }

  /// Unlinks the path unless a successor has put its own socket there.
  func remove() {
    guard let (nowDevice, nowInode) = Self.identity(path), nowDevice == device, nowInode == inode else { return }
    // Safe: the string lives through the call.
    unsafe unlink(path)
  }

  private static func identity(_ path: String) -> (dev_t, ino_t)? {
    var status = stat()
    // Safe: the kernel fills one whole stat structure.
    return unsafe lstat(path, &status) == 0 ? (status.st_dev, status.st_ino) : nil
  }
}

/// Calls `body` with the path as a socket address. The caller has seen to it that the path fits; what does not is cut,
/// never written past the end.
func withUnixAddress(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
  var address = sockaddr_un()
  address.sun_family = sa_family_t(AF_UNIX)
  // Safe: at most one byte less than the array holds is written, so a NUL stays behind it.
  unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8.prefix($0.count - 1)) }
  // Safe: every socket address starts as sockaddr does; the length says how much of it there is.
  return unsafe withUnsafePointer(to: address) { pointer in
    unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      unsafe body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
    }
  }
}

extension ListenAddress {
  /// What a socket is bound to.
  init(boundTo fd: Int32) throws(HTTPServerError) {
    // Safe: socketName keeps to the contract of getsockname(2).
    guard let name = unsafe SocketName(of: fd, with: getsockname) else {
      throw .system(operation: "getsockname", address: .inherited(fd: fd), reason: Errno(rawValue: errno).description)
    }
    switch name {
    case .unix(let path): self = .unix(path: path)
    case .ip(let host, let port): self = .tcp(host: host.text, port: port)
    case .other: throw .notListening(fd: fd)
    }
  }
}

/// One end of a socket.
enum SocketName {
  case unix(path: String)
  case ip(NumericAddress, port: UInt16)
  case other

  /// `query` is getsockname or getpeername; nil when it fails.
  init?(
    of fd: Int32, with query: (Int32, UnsafeMutablePointer<sockaddr>?, UnsafeMutablePointer<socklen_t>?) -> Int32
  ) {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    // Safe: sockaddr_storage has room for every family; the kernel writes no more than `length`.
    let result = unsafe withUnsafeMutablePointer(to: &storage) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe query(fd, $0, &length) }
    }
    guard result == 0 else { return nil }
    self = unsafe withUnsafeBytes(of: storage) { unsafe Self(bytes: $0, length: Int(length)) }
  }

  private init(bytes: UnsafeRawBufferPointer, length: Int) {
    // Safe: each load stays within sockaddr_storage, whose alignment is that of every address.
    switch unsafe Int32(bytes.load(as: sa_family_t.self)) {
    case AF_INET:
      let address = unsafe bytes.load(as: sockaddr_in.self)
      self = .ip(.v4(address.sin_addr), port: UInt16(bigEndian: address.sin_port))
    case AF_INET6:
      let address = unsafe bytes.load(as: sockaddr_in6.self)
      self = .ip(.v6(address.sin6_addr), port: UInt16(bigEndian: address.sin6_port))
    case AF_UNIX:
      let path = unsafe bytes[..<length].dropFirst(MemoryLayout<sa_family_t>.size).prefix { $0 != 0 }
      self = unsafe .unix(path: String(decoding: path, as: UTF8.self))
    default:
      self = .other
    }
  }
}
