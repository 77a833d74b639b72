import Glibc
import Synchronization

/// Looks at all connections now and then and ends those past their deadline or given up by their clients.
final class DeadlineThread: Sendable {
  private let core: ServerCore
  private let wake = WakeSignal()
  /// Set once, before `wake` is given; its mutex orders the two.
  private let stops = Atomic(false)
  /// The thread's handle, taken by the one call that joins it.
  private let handle = Mutex<pthread_t?>(nil)

  /// Nil when the process is out of threads.
  static func start(_ core: ServerCore) -> DeadlineThread? {
    let thread = DeadlineThread(core)
    var handle = pthread_t()
    // SAFETY: the thread takes over the reference given to it; the handle is written before the call returns.
    let retained = unsafe Unmanaged.passRetained(thread)
    guard unsafe pthread_create(&handle, nil, deadlineMain, retained.toOpaque()) == 0 else {
      unsafe retained.release()
      return nil
    }
    thread.handle.withLock { $0 = handle }
    return thread
  }

  private init(_ core: ServerCore) { self.core = core }

  /// Ends and joins the thread.
  func stop() {
    guard let joined = handle.withLock({ $0.take() }) else { return }
    stops.store(true, ordering: .relaxed)
    wake.give()
    // The handle was taken, so it is joined once.
    pthread_join(joined, nil)
  }

  fileprivate func run() {
    // An eighth of the deadline, so that nobody gets much more than was promised.
    let period = min(1_000_000_000, UInt64(core.configuration.requestDeadline) * 125_000_000)
    while !stops.load(ordering: .relaxed) {
      wake.wait(until: monotonicNS() + period)
      let now = monotonicNS()
      for connection in core.openConnections() { connection.inspect(now) }
    }
  }
}

private func deadlineMain(context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  guard let context = unsafe context else { return nil }
  // SAFETY: `start` retained the object for this thread.
  unsafe Unmanaged<DeadlineThread>.fromOpaque(context).takeRetainedValue().run()
  return nil
}
