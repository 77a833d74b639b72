import Glibc
import HTTPServer
import LinuxSupport
import Logging
import ManagementAPI
import PoolManager
import SystemPackage

/// The end: drain, stop every VM, stop serving; five seconds for all of it.
struct Shutdown {
  let fleet: Fleet
  let api: ManagementAPI
  let server: HTTPServer
  let systemd: Systemd
  let logger: Logger

  func run(because signal: Int32) {
    logger.notice("draining", metadata: ["signal": "\(signal)"])
    Watchdog.start(logger)
    systemd.notify("STOPPING=1")
    fleet.beginDraining()
    server.beginDraining()
    waitForAnswers()
    let late = fleet.stopAll(untilNS: MonotonicClock.now() + 2_000_000_000)
    if !late.isEmpty {
      logger.warning("VMs did not stop in time", metadata: ["vms": "\(late.map(\.id).joined(separator: ","))"])
    }
    server.stop()
    logger.notice("stopped")
  }

  /// Gives answers being worked on a second.
  private func waitForAnswers() {
    let end = MonotonicClock.now() + 1_000_000_000
    while api.answersInProgress > 0, MonotonicClock.now() < end { usleep(5_000) }
  }
}

/// Ends the process when a second signal says so, or when the time is up.
enum Watchdog {
  private static let patienceSeconds = 4

  static func start(_ logger: Logger) {
    do throws(Errno) {
      // Never joined: it goes with the process.
      _ = try JoinableThread(stackBytes: 256 << 10, name: "watchdog") { watch(logger) }
    } catch {
      logger.warning("no watchdog: the drain may take longer than it should", metadata: ["error": "\(error)"])
    }
  }

  private static func watch(_ logger: Logger) {
    var signals = sigset_t()
    var patience = timespec(tv_sec: patienceSeconds, tv_nsec: 500_000_000)
    // Safe: locals, each initialised before it is read.
    unsafe sigemptyset(&signals)
    for signal in ProcessSetup.endSignals { unsafe sigaddset(&signals, signal) }
    let signal = unsafe sigtimedwait(&signals, nil, &patience)
    if signal > 0 {
      logger.error("ended by a second signal", metadata: ["signal": "\(signal)"])
      _exit(128 + signal)
    }
    logger.error("the drain took too long; VMs and answers are cut off")
    _exit(1)
  }
}
