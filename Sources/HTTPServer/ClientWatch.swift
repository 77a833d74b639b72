import CMicroHTTP
import LinuxSupport
import Synchronization
import SystemPackage

/// Something that wants to know when its client closes, half-closes or resets its connection.
protocol Watcher: AnyObject, Sendable {
  /// Called once at most for each time it is added, on the watch's thread.
  func clientLeft()
}

/// Looks at the sockets that libmicrohttpd does not look at: those of suspended connections.
///
/// One thread a server, asleep until a client leaves. What else a client sends, such as its next request, is none of
/// its business and does not wake it.
final class ClientWatch: Sendable {
  private struct Entries {
    var last: UInt64 = 0
    var watchers: [UInt64: any Watcher] = [:]
  }

  /// Names one watcher, and is never used twice. An event may come after the end of its watch, when another connection has
  /// the same descriptor. It then finds no watcher.
  struct Token {
    fileprivate let number: UInt64
  }

  private let epoll: OwnedDescriptor
  private let stopping: OwnedDescriptor
  /// Guards who watches. A leaf: taken inside the locks of watchers, and never held while one is called.
  private let entries = Mutex(Entries())
  /// The thread, taken by the one call that joins it. A leaf, too.
  private let thread = Mutex<JoinableThread?>(nil)

  /// Starts the thread. Throws when descriptors or threads have run out.
  static func start() throws(Errno) -> ClientWatch {
    let watch = try ClientWatch()
    let thread = try JoinableThread(stackBytes: 512 << 10, name: "http-watch", role: .requests) { watch.run() }
    watch.keep(thread)
    return watch
  }

  private init() throws(Errno) {
    epoll = OwnedDescriptor(owning: try valueOrErrno(cmicrohttp_watch_make()))
    stopping = OwnedDescriptor(owning: try valueOrErrno(cmicrohttp_watch_stopper(epoll.rawValue)))
  }

  private func keep(_ made: consuming JoinableThread) {
    var made = Optional(made)
    thread.withLock { $0 = made.take() }
  }

  /// Watches a connection until it is removed; also calls the watcher of one that is closed already. Nil when the kernel
  /// has no memory for it. Any thread; the descriptor must stay open until `remove`.
  func add(_ descriptor: Int32, _ watcher: any Watcher) -> Token? {
    let number = entries.withLock { entries in
      entries.last += 1
      entries.watchers[entries.last] = watcher
      return entries.last
    }
    guard cmicrohttp_watch_add(epoll.rawValue, descriptor, number) == 0 else {
      _ = entries.withLock { $0.watchers.removeValue(forKey: number) }
      return nil
    }
    return Token(number: number)
  }

  /// Ends a watch, before its connection is given back to libmicrohttpd. Any thread.
  func remove(_ descriptor: Int32, _ token: Token) {
    cmicrohttp_watch_remove(epoll.rawValue, descriptor)
    _ = entries.withLock { $0.watchers.removeValue(forKey: token.number) }
  }

  /// How many connections are watched.
  var count: Int { entries.withLock { $0.watchers.count } }

  /// Ends the thread; calls no watcher after that. Once nothing is added any more, and not on the thread.
  func stop() {
    cmicrohttp_wake(stopping.rawValue)
    if let thread = thread.withLock({ $0.take() }) { thread.join() }
  }

  private func run() {
    var numbers = InlineArray<64, UInt64>(repeating: 0)
    while true {
      var span = numbers.mutableSpan
      // Safe: the kernel's events are copied into as many numbers as there are.
      let count = unsafe span.withUnsafeMutableBufferPointer {
        unsafe cmicrohttp_watch_wait(epoll.rawValue, $0.baseAddress, Int32($0.count))
      }
      for index in 0..<Int(max(0, count)) {
        if numbers[index] == 0 { return }
        // The watcher may have been removed a moment ago; it is not called under the lock.
        entries.withLock { $0.watchers[numbers[index]] }?.clientLeft()
      }
    }
  }
}
