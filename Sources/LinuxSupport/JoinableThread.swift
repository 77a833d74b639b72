import CLinux
import Synchronization
public import SystemPackage

/// A POSIX thread that must be joined or detached, once.
///
/// Threads are born with every signal blocked, so that a signal meant for the process, or for one thread, never lands
/// on another.
public struct JoinableThread: ~Copyable, @unchecked Sendable {
  // pthread_t is an integer handle on Linux; using it from any thread is what it is for.
  private let handle: pthread_t

  /// Starts a thread with a stack of `stackBytes` that runs `body`. Where its role has a `ThreadSpawner`, that one starts it;
  /// without a role, the calling thread does.
  ///
  /// Throws EAGAIN when the process or the system has no room for another thread.
  public init(
    stackBytes: Int, name: String, role: ThreadRole? = .operations, _ body: @escaping @Sendable () -> Void
  ) throws(Errno) {
    let birth = ThreadBirth(name: name, stackBytes: stackBytes, run: body)
    if let spawner = role.flatMap(ThreadSpawner.of) {
      spawner.perform { birth.start() }
    } else {
      birth.start()
    }
    let (thread, error) = birth.outcome.withLock { $0 }
    guard error == 0 else { throw Errno(rawValue: error) }
    handle = thread
  }

  /// Sends `signal` to the thread. Returns 0 or the error of pthread_kill(3), for instance ESRCH or EAGAIN.
  public borrowing func signal(_ signal: Int32) -> Errno? {
    let error = pthread_kill(handle, signal)
    return error == 0 ? nil : Errno(rawValue: error)
  }

  /// Waits until the thread has ended. Must not be called on the thread itself.
  public consuming func join() {
    // Safe: joined once, since joining consumes the only handle.
    _ = pthread_join(handle, nil)
  }

  /// Lets the thread end by itself: its resources are freed then, and nothing can wait for it any more.
  public consuming func detach() {
    // Safe: neither joined nor detached before, since both consume the only handle.
    _ = pthread_detach(handle)
  }
}

private final class ThreadBirth: Sendable {
  let name: String
  let stackBytes: Int
  let run: @Sendable () -> Void
  /// The handle, and the error of pthread_create(3). A leaf lock: the creator reads it after `start`.
  let outcome = Mutex<(pthread_t, Int32)>((pthread_t(), 0))

  init(name: String, stackBytes: Int, run: @escaping @Sendable () -> Void) {
    self.name = name
    self.stackBytes = stackBytes
    self.run = run
  }

  func start() {
    // Safe: retaining touches no memory of ours; who releases it stands below.
    let birth = unsafe Unmanaged.passRetained(self)
    var attributes = pthread_attr_t()
    var all = sigset_t()
    var previous = sigset_t()
    var thread = pthread_t()
    // Safe: every pointer is to a local that outlives the call; `birth` is consumed by exactly one of threadMain and
    // the error path.
    let error = unsafe withUnsafeMutablePointer(to: &attributes) { attributes in
      unsafe pthread_attr_init(attributes)
      unsafe pthread_attr_setstacksize(attributes, stackBytes)
      unsafe sigfillset(&all)
      unsafe pthread_sigmask(SIG_SETMASK, &all, &previous)
      let error = unsafe pthread_create(&thread, attributes, threadMain, birth.toOpaque())
      unsafe pthread_sigmask(SIG_SETMASK, &previous, nil)
      unsafe pthread_attr_destroy(attributes)
      return error
    }
    // Safe: there is no thread that could release it.
    if error != 0 { unsafe birth.release() }
    outcome.withLock { [thread] in $0 = (thread, error) }
  }
}

// At file scope: a closure given to C could be inferred to be bound to an actor.
private func threadMain(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  // Safe: `argument` is the retained box made by `start`, taken over here.
  guard let argument = unsafe argument else { return nil }
  let birth = unsafe Unmanaged<ThreadBirth>.fromOpaque(argument).takeRetainedValue()
  _ = unsafe birth.name.prefix(15).withCString { unsafe pthread_setname_np(pthread_self(), $0) }
  birth.run()
  return nil
}

/// Blocks `signals` in the calling thread and every thread it creates from now on.
public func blockSignals(_ signals: [Int32]) {
  var set = sigset_t()
  // Safe: `set` is a local, initialised by sigemptyset before its other uses.
  unsafe sigemptyset(&set)
  for signal in signals { unsafe sigaddset(&set, signal) }
  unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
}

/// Waits until one of `signals`, which must be blocked in every thread, arrives; returns it.
public func waitForSignal(_ signals: [Int32]) -> Int32 {
  var set = sigset_t()
  var received: Int32 = 0
  // Safe: locals only.
  unsafe sigemptyset(&set)
  for signal in signals { unsafe sigaddset(&set, signal) }
  while unsafe sigwait(&set, &received) != 0 {}
  return received
}
