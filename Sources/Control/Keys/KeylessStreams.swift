import Synchronization

/// Streams of clients that came without a key: to an open server, over a unix socket, or with a certificate. They end when what
/// lets such clients in changes; a client that comes again is looked at anew. Called on any thread.
public final class KeylessStreams: Sendable {
  private struct State {
    var last: UInt64 = 0
    var endings: [UInt64: @Sendable () -> Void] = [:]
  }

  /// A leaf: endings are called under no lock.
  private let state = Mutex(State())

  /// No streams.
  public init() {}

  /// A number for a stream that may begin.
  public func number() -> UInt64 {
    state.withLock { state in
      state.last += 1
      return state.last
    }
  }

  /// The stream begins: `end` is called at the next `endAll`, unless it is removed before.
  public func add(_ number: UInt64, _ end: @escaping @Sendable () -> Void) {
    state.withLock { $0.endings[number] = end }
  }

  /// The stream is over, or never began.
  public func remove(_ number: UInt64) {
    // Let go of outside the lock: it may hold the last reference to the stream.
    let ending = state.withLock { $0.endings.removeValue(forKey: number) }
    withExtendedLifetime(ending) {}
  }

  /// Ends the streams that there are.
  public func endAll() {
    let endings = state.withLock { state in
      defer { state.endings = [:] }
      return Array(state.endings.values)
    }
    for end in endings { end() }
  }
}
