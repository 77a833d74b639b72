import CLinux
import Glibc
import Synchronization
import SystemPackage

/// The thread that runs the actions of all `DeadlineTimer`s, and the heap that says which is next.
///
/// The thread blocks in a read of a timer descriptor (timerfd_create(2)), so that it wakes when the next deadline comes
/// and not before. `add` sets the descriptor itself, so nothing has to wake the thread for a nearer deadline.
final class DeadlineClock: Sendable {
  /// One timer's place in the heap. Its members are guarded by the clock's lock.
  final class Entry: @unchecked Sendable {
    fileprivate var timeNS: UInt64 = 0
    /// Where it stands in the heap; nil outside of it.
    fileprivate var place: Int?
    fileprivate var action: (@Sendable () -> Void)?
    /// It has been armed or cancelled, and cannot be armed any more.
    fileprivate var isUsed = false
  }

  private struct State {
    /// A binary heap: no entry is due before its parent, which stands at `(place - 1) / 2`.
    var heap: [Entry] = []
    /// What the descriptor is set to; .max when the next `add` has to set it.
    var setToNS = UInt64.max
  }

  /// Starts with the first timer. A process that cannot have this thread cannot keep a deadline, and ends.
  static let shared: DeadlineClock = {
    do throws(Errno) {
      let clock = DeadlineClock(try OwnedDescriptor(result: clinux_timer()))
      try JoinableThread(stackBytes: 256 << 10, name: "deadlines", role: .requests) { clock.run() }.detach()
      return clock
    } catch {
      preconditionFailure("no descriptor or thread for deadlines: \(error)")
    }
  }()

  private let timer: OwnedDescriptor
  /// Guards the heap and the descriptor's time. A leaf: actions are neither called nor freed under it.
  private let state = Mutex(State())

  private init(_ timer: consuming OwnedDescriptor) { self.timer = timer }

  func add(_ entry: Entry, _ timeNS: UInt64, _ action: @escaping @Sendable () -> Void) {
    state.withLock { state in
      guard !entry.isUsed else { return }
      entry.isUsed = true
      entry.timeNS = timeNS
      entry.action = action
      state.heap.append(entry)
      state.heap.rise(from: state.heap.count - 1)
      if timeNS < state.setToNS { set(timeNS, &state) }
    }
  }

  func remove(_ entry: Entry) {
    // The descriptor keeps its time: waking once in vain is cheaper than setting it for each timer that is cancelled.
    let action = state.withLock { state in
      entry.isUsed = true
      if let place = entry.place { state.heap.take(at: place) }
      return entry.action.take()
    }
    withExtendedLifetime(action) {}
  }

  private func set(_ timeNS: UInt64, _ state: inout State) {
    state.setToNS = timeNS
    // 0 would disarm it; a time beyond what the kernel takes is as good as never.
    _ = clinux_timer_set(timer.rawValue, min(max(timeNS, 1), UInt64(Int64.max)))
  }

  private func run() {
    var expirations: UInt64 = 0
    while true {
      // Safe: the kernel writes the 8 bytes of a local during the call.
      if unsafe read(timer.rawValue, &expirations, 8) < 0, errno != EINTR {
        preconditionFailure("the timer descriptor cannot be read: \(Errno(rawValue: errno))")
      }
      while let action = next() { action() }
    }
  }

  /// The action that is due; nil once none is and the descriptor is set to the next deadline.
  private func next() -> (@Sendable () -> Void)? {
    state.withLock { state in
      guard let first = state.heap.first else {
        state.setToNS = .max
        return nil
      }
      guard first.timeNS <= MonotonicClock.now() else {
        set(first.timeNS, &state)
        return nil
      }
      state.heap.take(at: 0)
      return first.action.take()
    }
  }
}

extension [DeadlineClock.Entry] {
  /// Takes an entry out of the heap.
  fileprivate mutating func take(at place: Int) {
    self[place].place = nil
    let last = removeLast()
    guard place < count else { return }
    self[place] = last
    sink(from: place)
    if self[place] === last { rise(from: place) }
  }

  /// Moves an entry up until its parent is due before it, and notes its place.
  fileprivate mutating func rise(from start: Int) {
    let entry = self[start]
    var place = start
    while place > 0, entry.timeNS < self[(place - 1) / 2].timeNS {
      put(self[(place - 1) / 2], at: place)
      place = (place - 1) / 2
    }
    put(entry, at: place)
  }

  /// Moves an entry down until both of its children are due after it, and notes its place.
  private mutating func sink(from start: Int) {
    let entry = self[start]
    var place = start
    while true {
      var child = 2 * place + 1
      guard child < count else { break }
      if child + 1 < count, self[child + 1].timeNS < self[child].timeNS { child += 1 }
      guard self[child].timeNS < entry.timeNS else { break }
      put(self[child], at: place)
      place = child
    }
    put(entry, at: place)
  }

  private mutating func put(_ entry: DeadlineClock.Entry, at place: Int) {
    self[place] = entry
    entry.place = place
  }
}
