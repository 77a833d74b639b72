import Glibc
import HTTPServer
import LinuxSupport

/// The service manager, if there is one: the sockets it hands over, and the messages it is sent (sd_listen_fds(3),
/// sd_notify(3), sd_watchdog_enabled(3)).
///
/// We do not use libsystemd. Its sd_notify waits without end for a manager that does not read. The library also loads six
/// others (libgcrypt, liblzma, libzstd and so on) into a process that takes hostile input. The protocol is stable by
/// promise, and sd_notify(3) recommends implementing it.
struct Systemd: Sendable {
  /// Sockets that the service manager made.
  let listeners: [ListenAddress]
  /// The manager ends a server that has not sent `WATCHDOG=1` for so long; nil where it does not watch.
  let watchdogUS: UInt64?
  private let notifySocket: String?

  private static let variables = [
    "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC",
  ]

  /// Reads the environment, and removes the variables, so that no child process inherits them. Before any thread exists.
  static func takeOver() -> Systemd {
    let own = String(getpid())
    let count = variable("LISTEN_PID") == own ? variable("LISTEN_FDS").flatMap { Int32($0) } ?? 0 : 0
    let isWatched = (variable("WATCHDOG_PID") ?? own) == own
    let watchdog = isWatched ? variable("WATCHDOG_USEC").flatMap { UInt64($0) } : nil
    let socket = variable("NOTIFY_SOCKET")
    for name in variables {
      // Safe: no other thread reads the environment yet.
      unsafe unsetenv(name)
    }
    // The first descriptor handed over is 3.
    let listeners = (0..<max(0, min(count, 1024))).map { ListenAddress.inherited(fd: 3 + $0) }
    return Systemd(listeners: listeners, watchdogUS: watchdog == 0 ? nil : watchdog, notifySocket: socket)
  }

  private static func variable(_ name: String) -> String? {
    // Safe: copied before the environment changes.
    unsafe getenv(name).map { unsafe String(cString: $0) }
  }

  /// Sends the service manager `state`: assignments such as `READY=1`, one a line. Waits a second at most. A manager
  /// that does not listen is not the server's concern, and gets no second attempt.
  func notify(_ state: String) {
    guard let notifySocket, let first = notifySocket.utf8.first, first == 0x2F || first == 0x40 else { return }
    let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    var patience = timeval(tv_sec: 1, tv_usec: 0)
    // Safe: a local of the size given.
    unsafe setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    var path = Array(notifySocket.utf8)
    // An abstract address begins with NUL where it is written with @.
    if first == 0x40 { path[0] = 0 }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    guard path.count < MemoryLayout.size(ofValue: address.sun_path) else { return }
    // Safe: the path was just seen to fit; the kernel reads as many bytes of both as it is told.
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path) }
    let length = socklen_t(MemoryLayout<sa_family_t>.size + path.count)
    let message = Array(state.utf8)
    _ = unsafe withUnsafePointer(to: address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
        unsafe sendto(descriptor, message, message.count, Int32(MSG_NOSIGNAL), pointer, length)
      }
    }
  }

  /// Announces that the configuration is being read again. `notify("READY=1")` ends that.
  func notifyReloading() {
    notify("RELOADING=1\nMONOTONIC_USEC=\(MonotonicClock.now() / 1000)\nSTATUS=reading the configuration file")
  }

  /// The numeric address that a socket is bound to; nil where it has none.
  static func host(of descriptor: Int32) -> String? {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    var name = [CChar](repeating: 0, count: Int(NI_MAXHOST))
    // Safe: the storage holds any address, and its size is told; the name's buffer likewise.
    let found = unsafe withUnsafeMutablePointer(to: &storage) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
        unsafe getsockname(descriptor, pointer, &length) == 0 && Int32(pointer.pointee.sa_family) != AF_UNIX
          && getnameinfo(pointer, length, &name, socklen_t(name.count), nil, 0, NI_NUMERICHOST) == 0
      }
    }
    return found ? String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self) : nil
  }
}
