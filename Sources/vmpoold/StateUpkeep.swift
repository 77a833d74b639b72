import BlobStore
import Control
import LinuxSupport
import Logging
import StateStore
import Synchronization
import SystemPackage

/// Once a minute: forgets what the state and the blobs keep no longer, and says if it could not be forced to the disk.
final class StateUpkeep: Sendable {
  private static let periodNS: UInt64 = 60_000_000_000

  private let state: StateDatabase
  private let blobs: BlobRepository
  private let keys: KeyRing
  private let logger: Logger
  /// Relaxed: it orders nothing else.
  private let isEnding = Atomic(false)

  /// Starts the thread. Throws EAGAIN where there is no room for one.
  init(state: StateDatabase, blobs: BlobRepository, keys: KeyRing, logger: Logger) throws(Errno) {
    self.state = state
    self.keys = keys
    self.blobs = blobs
    self.logger = logger
    // Never joined: it ends with the process.
    _ = try JoinableThread(stackBytes: 512 << 10, name: "upkeep") {
      while true {
        MonotonicClock.sleep(untilNS: MonotonicClock.now() + Self.periodNS)
        if self.isEnding.load(ordering: .relaxed) { return }
        self.keepUp()
      }
    }
  }

  /// Nothing begins after this; what is under way may still end.
  func end() { isEnding.store(true, ordering: .relaxed) }

  private func keepUp() {
    blobs.prune()
    if let error = state.flushError {
      logger.error("the state is not forced to the disk", metadata: ["error": "\(error)"])
    }
    do throws(StateStoreError) {
      try keys.keepUp()
      try state.prune(nowMS: StateDatabase.wallClockMS())
    } catch {
      logger.error("what is old in the state could not be forgotten", metadata: ["error": "\(error)"])
    }
  }
}
