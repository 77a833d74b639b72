import BlobStore
import Dispatch
import Logging
import StateStore

/// Once a minute: forgets what the state and the blobs keep no longer, and says if it could not be forced to the disk.
final class StateUpkeep {
  private let timer: any DispatchSourceTimer

  init(_ state: StateDatabase, _ blobs: BlobRepository, _ logger: Logger) {
    timer = DispatchSource.makeTimerSource(queue: DispatchQueue(label: "vmpool.upkeep"))
    timer.setEventHandler {
      blobs.prune()
      if let error = state.flushError {
        logger.error("the state is not forced to the disk", metadata: ["error": "\(error)"])
      }
      do throws(StateStoreError) {
        try state.prune(nowMS: StateDatabase.wallClockMS())
      } catch {
        logger.error("what is old in the state could not be forgotten", metadata: ["error": "\(error)"])
      }
    }
    timer.schedule(deadline: .now() + 60, repeating: 60, leeway: .seconds(5))
    timer.activate()
  }

  /// Nothing begins after this; what is under way may still end.
  func end() { timer.cancel() }
}
