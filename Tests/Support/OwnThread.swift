import LinuxSupport
import Synchronization
public import SystemPackage

/// A thread of a test's own.
public final class OwnThread: Sendable {
  private let thread: Mutex<JoinableThread?>

  /// Starts a thread that runs `body`.
  public init(_ body: @escaping @Sendable () -> Void) throws(Errno) {
    thread = Mutex(try JoinableThread(stackBytes: 512 << 10, name: "test", body))
  }

  /// Waits for the thread's end. Every thread must be joined.
  public func join() {
    if let ended = thread.withLock({ $0.take() }) { ended.join() }
  }

  /// Calls `body` with the numbers below `count`, each on a thread of its own, and waits for all of them.
  public static func run(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) throws(Errno) {
    var threads: [OwnThread] = []
    for number in 0..<count { threads.append(try OwnThread { body(number) }) }
    for thread in threads { thread.join() }
  }
}

/// Something that one thread uses at a time, handed to another.
public struct Handed<Value>: @unchecked Sendable {
  /// The thing itself.
  public let value: Value

  /// Hands it over: the thread that had it does not use it until the other has ended.
  public init(value: Value) { self.value = value }
}
