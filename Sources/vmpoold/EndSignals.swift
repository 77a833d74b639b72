import Glibc
import LinuxSupport
import Synchronization
import SystemPackage

/// The signals that end the server, SIGTERM, SIGINT and SIGQUIT, on a thread that exists before anything can block.
///
/// The first signal asks for the drain and starts the clock. A second one, or the end of the time, ends the process at once.
/// It does so also in a drain that a stuck disk holds up, and in a start that never comes to its end. The thread logs nothing and waits for nothing but signals. The exit status says what happened.
final class EndSignals: Sendable {
  /// Swift's runtime would take SIGQUIT for a crash.
  static let signals = [SIGTERM, SIGINT, SIGQUIT]
  private static let patienceNS: UInt64 = 4_500_000_000
  /// A signal to the process and to its group is one signal to its sender (timeout(1) does that, and terminals with a
  /// shell's help). A second signal counts only after this time.
  private static let echoNS: UInt64 = 250_000_000

  /// The first signal, 0 before it. Releasing and acquiring pair through `came`.
  private let first = Atomic<Int32>(0)
  private let came = CountingSemaphore()

  /// Starts the thread. The signals must be blocked in all threads. Throws EAGAIN where there is no room for a thread.
  init() throws(Errno) {
    // Never joined: it ends with the process.
    _ = try JoinableThread(stackBytes: 256 << 10, name: "end signals", role: .plain) { self.watch() }
  }

  /// Waits for the first signal and returns it. One caller.
  func wait() -> Int32 {
    came.wait()
    return first.load(ordering: .acquiring)
  }

  private func watch() {
    first.store(waitForSignal(Self.signals), ordering: .releasing)
    let start = MonotonicClock.now()
    came.signal()
    while let signal = Self.next(untilNS: start + Self.patienceNS) {
      if MonotonicClock.now() >= start + Self.echoNS { _exit(128 + signal) }
    }
    _exit(1)
  }

  /// The next signal; nil when none has come by `deadlineNS`.
  private static func next(untilNS deadlineNS: UInt64) -> Int32? {
    var set = sigset_t()
    // Safe, here and below: locals, each initialised before it is read.
    unsafe sigemptyset(&set)
    for signal in signals { unsafe sigaddset(&set, signal) }
    while true {
      let now = MonotonicClock.now()
      guard now < deadlineNS else { return nil }
      let rest = deadlineNS - now
      var patience = timespec(tv_sec: Int(rest / 1_000_000_000), tv_nsec: Int(rest % 1_000_000_000))
      let signal = unsafe sigtimedwait(&set, nil, &patience)
      if signal > 0 { return signal }
    }
  }
}
