import Glibc
import HTTPServer
import LinuxSupport
import Logging
import ManagementAPI
import PoolManager

/// The end: drain, stop every VM, stop serving. `EndSignals` bounds all of it.
struct Shutdown {
  let fleet: Fleet
  let api: APIHandler
  let server: HTTPService
  let systemd: Systemd
  let logger: Logger

  func run(because signal: Int32) {
    logger.notice("draining", metadata: ["signal": "\(signal)"])
    systemd.notify("STOPPING=1\nSTATUS=draining: requests end, VMs stop")
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
