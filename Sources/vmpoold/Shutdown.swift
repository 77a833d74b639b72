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
  let api: APIHandler
  let server: HTTPService
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
  private static let patienceNS: UInt64 = 4_500_000_000
  /// A signal to the process and to its group is one signal to whoever sent it (timeout(1) does that, terminals with a
  /// shell's help): what comes so soon after the first is no second one.
  private static let echoNS: UInt64 = 250_000_000

  static func start(_ logger: Logger) {
    do throws(Errno) {
      // Never joined: it goes with the process.
      _ = try JoinableThread(stackBytes: 256 << 10, name: "watchdog") { watch(logger) }
    } catch {
      logger.warning("no watchdog: the drain may take longer than it should", metadata: ["error": "\(error)"])
    }
  }

  private static func watch(_ logger: Logger) {
    let start = MonotonicClock.now()
    while let signal = nextSignal(untilNS: start + patienceNS) {
      if MonotonicClock.now() < start + echoNS { continue }
      logger.error("ended by a second signal", metadata: ["signal": "\(signal)"])
      _exit(128 + signal)
    }
    logger.error("the drain took too long; VMs and answers are cut off")
    _exit(1)
  }

  /// The next signal that wants the end; nil when none has come by `deadlineNS`.
  private static func nextSignal(untilNS deadlineNS: UInt64) -> Int32? {
    var signals = sigset_t()
    // Safe, here and below: locals, each initialised before it is read.
    unsafe sigemptyset(&signals)
    for signal in ProcessSetup.endSignals { unsafe sigaddset(&signals, signal) }
    while true {
      let now = MonotonicClock.now()
      guard now < deadlineNS else { return nil }
      let rest = deadlineNS - now
      var patience = timespec(tv_sec: Int(rest / 1_000_000_000), tv_nsec: Int(rest % 1_000_000_000))
      let signal = unsafe sigtimedwait(&signals, nil, &patience)
      if signal > 0 { return signal }
    }
  }
}
