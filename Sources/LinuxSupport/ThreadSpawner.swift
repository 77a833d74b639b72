import Synchronization
public import SystemPackage

/// The thread that starts all threads of one role, so that they inherit what it has given up. Nothing has to be set up for
/// each of them: a filter of system calls costs some 70 microseconds and a page of the kernel's memory.
///
/// A process without spawners starts threads from whichever thread asks.
public final class ThreadSpawner: Sendable {
  /// Guards the spawners; a leaf.
  private static let all = Mutex<[ThreadRole: ThreadSpawner]>([:])

  /// Guards the orders; a leaf.
  private let orders = Mutex<[@Sendable () -> Void]>([])
  private let wanted = CountingSemaphore()

  /// From now on all threads of `role` start from a thread that has run `restrict`. That throws what a kernel refused, and then
  /// the role has no spawner. Once a role, by a thread that no other runs beside. Lives as long as the process.
  public static func start(
    _ role: ThreadRole, restrict: @escaping @Sendable () throws(Errno) -> Void
  ) throws(Errno) {
    let spawner = ThreadSpawner()
    let outcome = Mutex<Errno?>(nil)
    let isReady = CountingSemaphore()
    try JoinableThread(stackBytes: 64 << 10, name: "spawn \(role.rawValue)", role: nil) {
      do throws(Errno) {
        try restrict()
      } catch {
        outcome.withLock { $0 = error }
      }
      isReady.signal()
      if outcome.withLock({ $0 == nil }) { spawner.work() }
    }.detach()
    isReady.wait()
    if let error = outcome.withLock({ $0 }) { throw error }
    all.withLock { $0[role] = spawner }
  }

  static func of(_ role: ThreadRole) -> ThreadSpawner? { all.withLock { $0[role] } }

  /// Runs `order` on the spawner's thread, and returns when it has.
  func perform(_ order: @escaping @Sendable () -> Void) {
    let isDone = CountingSemaphore()
    orders.withLock {
      $0.append {
        order()
        isDone.signal()
      }
    }
    wanted.signal()
    isDone.wait()
  }

  private func work() {
    while true {
      wanted.wait()
      orders.withLock { $0.removeFirst() }()
    }
  }
}
