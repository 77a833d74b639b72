import Glibc
import Synchronization

/// Whether stdin is a terminal.
var isTerminal: Bool { isatty(STDIN_FILENO) == 1 }

/// Whether SIGINT, SIGTERM, SIGHUP or SIGPIPE came during ``withRawTerminal(_:)``.
var signalArrived: Bool { interruption.load(ordering: .relaxed) }

/// Set by the signal handler, read by the polling loop: nothing else is passed between them.
private let interruption = Atomic<Bool>(false)

private func noteSignal(_ number: Int32) { interruption.store(true, ordering: .relaxed) }

/// Runs the body with the terminal in raw mode: every key comes as it is typed, and none is echoed. The terminal is
/// put back afterwards, also when the body throws; signals that would end the program only set ``signalArrived``.
func withRawTerminal<Result>(_ body: () throws -> Result) throws -> Result {
  // Touched here, so that the handler never is the one to initialise it.
  interruption.store(false, ordering: .relaxed)
  var before = termios()
  // Safe: both structures are this function's own, and filled before they are used.
  guard unsafe tcgetattr(STDIN_FILENO, &before) == 0 else { return try body() }
  let signals = [SIGINT, SIGTERM, SIGHUP, SIGPIPE]
  for number in signals { _ = signal(number, noteSignal) }
  defer { for number in signals { _ = signal(number, SIG_DFL) } }
  var raw = before
  unsafe cfmakeraw(&raw)
  _ = unsafe tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw)
  defer { _ = unsafe tcsetattr(STDIN_FILENO, TCSAFLUSH, &before) }
  return try body()
}

/// Waits until there is input, if `wanted`, or the time is over. True when there is input, or its end.
func waitForInput(_ wanted: Bool, milliseconds: Int) -> Bool {
  var request = pollfd(fd: wanted ? STDIN_FILENO : -1, events: Int16(POLLIN), revents: 0)
  // Safe: one structure is given, and one is announced. A signal only ends the wait early.
  return unsafe poll(&request, 1, Int32(milliseconds)) > 0
}

/// What stdin has now, up to so many bytes; nil at its end, or when it cannot be read.
func readInput(atMost limit: Int) -> [UInt8]? {
  // Safe: the buffer has room for `limit` bytes, and the count is what was filled.
  let bytes = unsafe [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
    count = unsafe max(0, read(STDIN_FILENO, buffer.baseAddress, limit))
  }
  return bytes.isEmpty ? nil : bytes
}

/// Writes all of it to stdout; false when that is impossible.
func writeAll(_ bytes: [UInt8]) -> Bool {
  var rest = bytes[...]
  while !rest.isEmpty {
    // Safe: the buffer outlives the call.
    let written = unsafe rest.withUnsafeBytes { unsafe write(STDOUT_FILENO, $0.baseAddress, $0.count) }
    if written < 0 && errno == EINTR { continue }
    guard written > 0 else { return false }
    rest = rest.dropFirst(written)
  }
  return true
}
