import Glibc
import HTTPServer
import LinuxSupport
import Logging
import PoolManager
import SystemPackage

/// Sends the service manager's watchdog a sign of life (`WatchdogSec=` in the unit) as long as the server answers itself.
///
/// A thread of its own asks for `/livez` like a client, and looks at the fleet, whose lock every operation needs. While
/// either hangs, no sign of life goes out, and the manager starts the server anew.
struct Liveness: Sendable {
  private let systemd: Systemd
  private let fleet: Fleet
  private let logger: Logger
  private let intervalNS: UInt64
  /// The first address that answered at the start; nil where the server cannot reach any of its own. An example is a socket
  /// of another network namespace that the service manager handed over.
  private let address: ListenAddress?
  private let speaksTLS: Bool

  /// Starts the thread where the service manager watches. Without a thread there is no sign of life, and the manager
  /// ends the server: that is logged.
  static func keep(
    _ systemd: Systemd, fleet: Fleet, addresses: [ListenAddress], speakTLS: Bool, _ logger: Logger
  ) {
    guard let watchdogUS = systemd.watchdogUS else { return }
    // A quarter, so that a single late answer does no harm.
    let intervalNS = max(watchdogUS * 1000 / 4, 1_000_000)
    let liveness = Liveness(
      systemd: systemd, fleet: fleet, logger: logger, intervalNS: intervalNS,
      address: addresses.first { answers($0, speakTLS, withinNS: intervalNS) }, speaksTLS: speakTLS)
    do throws(Errno) {
      // Never joined: it ends with the process.
      _ = try JoinableThread(stackBytes: 256 << 10, name: "liveness") { liveness.signalForEver() }
    } catch {
      logger.error("no thread for the service manager's watchdog", metadata: ["error": "\(error)"])
    }
  }

  private func signalForEver() {
    var next = MonotonicClock.now()
    while true {
      // Takes the lock of the fleet, and hangs where that is stuck.
      let vms = fleet.pools.reduce(into: 0) { $0 += $1.states.values.reduce(0, +) }
      if address.map({ Self.answers($0, speaksTLS, withinNS: intervalNS) }) ?? true {
        systemd.notify("WATCHDOG=1\nSTATUS=serving \(fleet.pools.count) pools, \(vms) VMs in them")
      } else {
        logger.error("the server does not answer itself", metadata: ["address": "\(address.map(\.description) ?? "")"])
      }
      next += intervalNS
      MonotonicClock.sleep(untilNS: next)
    }
  }

  /// Whether `GET /livez` there answers 200. Each step waits for `patienceNS` at most.
  private static func answers(_ address: ListenAddress, _ speaksTLS: Bool, withinNS patienceNS: UInt64) -> Bool {
    guard let descriptor = connected(address, patienceNS) else { return false }
    let request = Array("GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".utf8)
    let success = "HTTP/1.1 200 ".utf8
    if speaksTLS, case .tcp = address {
      guard let client = TLSClient(over: descriptor.rawValue), client.send(request) else { return false }
      return client.receive(atMost: 64)?.starts(with: success) ?? false
    }
    // Safe, here and below: the buffers are as large as the lengths given.
    guard unsafe send(descriptor.rawValue, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else {
      return false
    }
    var answer = [UInt8](repeating: 0, count: 64)
    let count = unsafe recv(descriptor.rawValue, &answer, answer.count, 0)
    return count > 0 && answer[..<count].starts(with: success)
  }

  private static func connected(_ address: ListenAddress, _ patienceNS: UInt64) -> OwnedDescriptor? {
    switch address {
    case .unix(let path):
      var name = sockaddr_un()
      name.sun_family = sa_family_t(AF_UNIX)
      let bytes = Array(path.utf8)
      guard bytes.count < MemoryLayout.size(ofValue: name.sun_path) else { return nil }
      // Safe: the path was just seen to fit.
      unsafe withUnsafeMutableBytes(of: &name.sun_path) { unsafe $0.copyBytes(from: bytes) }
      return connected(AF_UNIX, &name, patienceNS)
    case .tcp(let host, let port):
      var name = sockaddr_in()
      name.sin_family = sa_family_t(AF_INET)
      name.sin_port = port.bigEndian
      // Safe, here and below: the text ends with NUL, and the address has the size of its family.
      if unsafe inet_pton(AF_INET, host == "0.0.0.0" ? "127.0.0.1" : host, &name.sin_addr) == 1 {
        return connected(AF_INET, &name, patienceNS)
      }
      var longName = sockaddr_in6()
      longName.sin6_family = sa_family_t(AF_INET6)
      longName.sin6_port = port.bigEndian
      guard unsafe inet_pton(AF_INET6, host == "::" ? "::1" : host, &longName.sin6_addr) == 1 else { return nil }
      return connected(AF_INET6, &longName, patienceNS)
    case .inherited: return nil
    }
  }

  private static func connected<Name>(_ family: Int32, _ name: inout Name, _ patienceNS: UInt64) -> OwnedDescriptor? {
    let raw = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard raw >= 0 else { return nil }
    let descriptor = OwnedDescriptor(owning: raw)
    var patience = timeval(tv_sec: Int(patienceNS / 1_000_000_000), tv_usec: Int(patienceNS % 1_000_000_000 / 1000))
    let size = socklen_t(MemoryLayout<timeval>.size)
    // Safe: locals of the sizes given; `Name` is the socket address of the family.
    unsafe setsockopt(raw, SOL_SOCKET, SO_SNDTIMEO, &patience, size)
    unsafe setsockopt(raw, SOL_SOCKET, SO_RCVTIMEO, &patience, size)
    let isConnected = unsafe withUnsafePointer(to: name) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
        unsafe connect(raw, pointer, socklen_t(MemoryLayout<Name>.size)) == 0
      }
    }
    guard isConnected else { return nil }
    return descriptor
  }
}
