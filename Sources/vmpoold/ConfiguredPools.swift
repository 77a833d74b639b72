import APIModel
import Access
import Control
import Glibc
import LinuxSupport
import Logging
import Metrics
import PoolManager
import ServerConfiguration
import Synchronization
import SystemPackage

/// What the configuration file says: its pools are declared, and its rules of access and tenants hold, from the start and anew
/// from each SIGHUP.
///
/// A thread of its own waits for the signal and reads the file, which may lie on a disk that hangs. Other threads serve the
/// signals that end the server meanwhile.
final class ConfiguredPools: Sendable {
  private struct State {
    var isEnding = false
    /// The outcome of the last reading; nil where there is no file.
    var isSuccessful: Bool?
    /// Seconds since 1970.
    var succeededAt: Double?
  }

  private let path: String?
  private let fleet: Fleet
  private let pools: PoolDeclarations
  private let access: CurrentAccess
  private let systemd: Systemd
  private let logger: Logger
  /// Held while the file is applied, so that `end` waits for that. The locks of `pools` and of `access` are taken under it.
  private let state = Mutex(State())

  /// The file at `path`, nil for no file.
  init(
    path: String?, fleet: Fleet, pools: PoolDeclarations, access: CurrentAccess, systemd: Systemd, logger: Logger
  ) {
    self.path = path
    self.fleet = fleet
    self.pools = pools
    self.access = access
    self.systemd = systemd
    self.logger = logger
  }

  /// Reads the file; nil where there is none.
  static func read(_ path: String?) throws(ConfigurationError) -> ConfigurationFile? {
    guard let path else { return nil }
    return try ConfigurationFile(path: path)
  }

  /// Applies the rules of access and the tenants of `file`, declares its pools, and logs each that is refused. Returns how many
  /// pools were declared and refused; nil where the server ends.
  @discardableResult
  func declare(_ file: ConfigurationFile) -> (applied: Int, refused: Int)? {
    state.withLock { state -> (applied: Int, refused: Int)? in
      guard !state.isEnding else { return nil }
      // Before the pools: what a client may no longer do, it does not do to the new ones.
      if access.replace(rules: file.access) {
        logger.warning(
          """
          the configuration file has lost its section access:; its rules are gone, and the server stays closed until it is \
          started again
          """)
      }
      fleet.declareTenants(file.tenants)
      let errors = pools.load(file: file.pools.map { ($0.name, $0.document) })
      for error in errors {
        logger.error("a pool of the configuration file is not declared", metadata: ["error": "\(error)"])
      }
      state.isSuccessful = errors.isEmpty
      if errors.isEmpty { state.succeededAt = Double(WallClock.now() / 1_000_000) / 1000 }
      return (file.pools.count - errors.count, errors.count)
    }
  }

  /// Starts the thread that reads the file again at each SIGHUP, which must be blocked in all threads. It calls `andAlso`
  /// first, which says whether it has read what it reads; nil where it reads nothing.
  func readAgainAtSIGHUP(andAlso other: @escaping @Sendable () -> Bool?) throws(Errno) {
    // Never joined: it ends with the process.
    _ = try JoinableThread(stackBytes: 512 << 10, name: "configuration", role: .service) {
      while true {
        _ = waitForSignal([SIGHUP])
        self.systemd.notifyReloading()
        self.readAgain(afterOther: other())
      }
    }
  }

  /// From now on no pool is declared.
  func end() { state.withLock { $0.isEnding = true } }

  private func readAgain(afterOther other: Bool?) {
    var status = "there is no configuration file to read again"
    defer {
      let failure = other == false ? "; the certificate was not read again" : ""
      systemd.notify("READY=1\nSTATUS=" + status + failure)
    }
    do throws(ConfigurationError) {
      guard let file = try Self.read(path) else {
        if other == nil { logger.notice("SIGHUP: \(status)") }
        return
      }
      guard let result = declare(file) else { return }
      status = "the configuration file was read again: \(result.applied) pools, \(result.refused) refused"
      logger.log(
        level: result.refused > 0 ? .warning : .notice, "the configuration file was read again",
        metadata: ["pools": "\(result.applied)", "refused": "\(result.refused)"])
    } catch {
      status = "the configuration file is wrong; what was read before holds"
      state.withLock { $0.isSuccessful = false }
      for line in error.lines { logger.error("a mistake in the configuration file", metadata: ["error": "\(line)"]) }
      logger.error("\(status)", metadata: ["mistakes": "\(error.lines.count)"])
    }
  }

  /// What `/metrics` says of the file; nothing where there is none.
  var families: [MetricFamily] {
    let state = state.withLock { $0 }
    guard let isSuccessful = state.isSuccessful else { return [] }
    return [
      MetricFamily(
        name: "vmpool_config_last_reload_successful",
        help: "Whether all of the configuration file was applied when it was last read: 1 or 0.", kind: .gauge,
        samples: [MetricSample(value: .integer(isSuccessful ? 1 : 0))]),
      MetricFamily(
        name: "vmpool_config_last_reload_success_timestamp_seconds",
        help: "When all of the configuration file was last applied, in seconds since 1970; 0 for never.", kind: .gauge,
        unit: "seconds", samples: [MetricSample(value: .number(state.succeededAt ?? 0))]),
    ]
  }
}
