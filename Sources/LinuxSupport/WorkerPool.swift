import Glibc
import Synchronization
import SystemPackage

/// A bounded number of threads for work that blocks, and a bounded queue before them.
///
/// Any thread may submit work. Threads start when work finds none idle, and stay. They are called `NAME-0`, `NAME-1` and
/// so on, and have every signal blocked. Work that is queued is begun in the order in which it came.
public final class WorkerPool: Sendable {
  /// Why work was not taken.
  public enum Refusal: Error, Sendable, Equatable {
    /// All threads are busy, and the queue has no place left.
    case full
    /// The pool has been stopped.
    case stopped
    /// There is no thread, and the system gives none.
    case noThread
  }

  private let shared: Shared

  /// A pool of at most `threads` threads, each with a stack of `stackBytes`, before which at most `queueLimit` pieces of
  /// work wait. `name` has at most 12 characters, so that a thread's name fits into the kernel's 15.
  public init(
    name: String, role: ThreadRole = .operations, threads: Int, queueLimit: Int, stackBytes: Int = 512 << 10
  ) {
    precondition(threads > 0 && queueLimit >= 0, "a pool has at least one thread")
    shared = Shared(name: name, role: role, threadLimit: threads, queueLimit: queueLimit, stackBytes: stackBytes)
  }

  /// Has `work` run on one of the threads. Never waits.
  public func submit(_ work: @escaping @Sendable () -> Void) throws(Refusal) { try shared.submit(work) }

  /// Pieces of work that wait for a thread, and threads that are running one.
  public var load: (queued: Int, running: Int) {
    shared.state.withLock { ($0.queue.count - $0.start, $0.threads - $0.idle) }
  }

  /// Takes no more work, runs what is queued, and returns when the threads have left it. Once, and not on one of them.
  public func stop() {
    shared.beginStopping()
    shared.ended.wait()
  }

  // Let go of without being stopped, it ends its threads after what is queued, and does not wait.
  deinit { shared.beginStopping() }
}

/// What the threads of a pool share. They keep it alive, and not the pool.
private final class Shared: Sendable {
  struct State {
    /// Work from `start` on; what stands before has been taken.
    var queue: [@Sendable () -> Void] = []
    var start = 0
    var threads = 0
    /// Threads that are not running a piece of work.
    var idle = 0
    var isStopping = false

    var queued: Int { queue.count - start }
  }

  let name: String
  let role: ThreadRole
  let threadLimit: Int
  let queueLimit: Int
  let stackBytes: Int
  /// Guards the queue and the counts; a leaf. Work is neither run nor freed under it. A thread is started under it: that
  /// takes some ten microseconds, and happens `threadLimit` times in the pool's life.
  let state = Mutex(State())
  /// Signalled once for each piece of work, and at the end once for each thread.
  let wanted = CountingSemaphore()
  /// Signalled when the pool is stopping and the last thread has left.
  let ended = CountingSemaphore()

  init(name: String, role: ThreadRole, threadLimit: Int, queueLimit: Int, stackBytes: Int) {
    self.name = name
    self.role = role
    self.threadLimit = threadLimit
    self.queueLimit = queueLimit
    self.stackBytes = stackBytes
  }

  func submit(_ work: @escaping @Sendable () -> Void) throws(WorkerPool.Refusal) {
    let refusal = state.withLock { state -> WorkerPool.Refusal? in
      if state.isStopping { return .stopped }
      if state.queued >= state.idle, state.threads < threadLimit { start(&state) }
      if state.threads == 0 { return .noThread }
      guard state.queued - state.idle < queueLimit else { return .full }
      state.queue.append(work)
      return nil
    }
    if let refusal { throw refusal }
    wanted.signal()
  }

  /// Starts one more thread. Where the system gives none, those that are there have to do.
  private func start(_ state: inout State) {
    do throws(Errno) {
      let name = "\(name)-\(state.threads)"
      try JoinableThread(stackBytes: stackBytes, name: name, role: role) { [self] in run() }.detach()
      state.threads += 1
      state.idle += 1
    } catch {
      // `submit` refuses the work if there is no thread at all.
    }
  }

  /// A thread's life.
  private func run() {
    while true {
      wanted.wait()
      guard let work = next() else { break }
      work()
      state.withLock { $0.idle += 1 }
    }
    let isLast = state.withLock { state in
      state.idle -= 1
      state.threads -= 1
      return state.threads == 0
    }
    if isLast { ended.signal() }
  }

  /// The next piece of work; nil when there is none, at the end.
  private func next() -> (@Sendable () -> Void)? {
    state.withLock { state in
      guard state.queued > 0 else { return nil }
      let work = state.queue[state.start]
      state.queue[state.start] = {}
      state.start += 1
      state.idle -= 1
      if state.start == state.queue.count {
        state.queue.removeAll(keepingCapacity: true)
        state.start = 0
      } else if state.start > 1024, state.start > state.queue.count / 2 {
        state.queue.removeSubrange(..<state.start)
        state.start = 0
      }
      return work
    }
  }

  func beginStopping() {
    let threads = state.withLock { state -> Int? in
      if state.isStopping { return nil }
      state.isStopping = true
      return state.threads
    }
    guard let threads else { return }
    if threads == 0 { ended.signal() }
    for _ in 0..<threads { wanted.signal() }
  }
}
