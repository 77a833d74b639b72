import Glibc
import HTTPServer

/// The service manager, if there is one: the sockets it hands over, and what it is told (sd_listen_fds(3),
/// sd_notify(3)).
struct Systemd: Sendable {
  /// Sockets that the service manager made.
  let listeners: [ListenAddress]
  private let notifySocket: String?

  /// Reads the environment, and takes it away from whatever this process starts. Before any thread exists.
  static func takeOver() -> Systemd {
    let count = variable("LISTEN_PID") == String(getpid()) ? variable("LISTEN_FDS").flatMap { Int32($0) } ?? 0 : 0
    let socket = variable("NOTIFY_SOCKET")
    for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET"] {
      // Safe: no other thread reads the environment yet.
      unsafe unsetenv(name)
    }
    // The first descriptor handed over is 3.
    let listeners = (0..<max(0, min(count, 1024))).map { ListenAddress.inherited(fd: 3 + $0) }
    return Systemd(listeners: listeners, notifySocket: socket)
  }

  private static func variable(_ name: String) -> String? {
    // Safe: copied before the environment changes.
    unsafe getenv(name).map { unsafe String(cString: $0) }
  }

  /// Tells the service manager, such as `READY=1`. One that does not listen is none of the server's business.
  func notify(_ state: String) {
    guard let notifySocket, let first = notifySocket.utf8.first, first == 0x2F || first == 0x40 else { return }
    let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
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
