import CommandLineSupport
import Glibc
import Synchronization

/// Whether stdin is a terminal.
var isTerminal: Bool { isatty(STDIN_FILENO) == 1 }

/// The signal that came during ``notingSignals(_:)``, of SIGINT, SIGTERM, SIGHUP and SIGPIPE; nil for none.
var arrivedSignal: Int32? {
  let number = interruption.load(ordering: .relaxed)
  return number == 0 ? nil : number
}

/// Set by the signal handler, read by the polling loop: nothing else is passed between them.
private let interruption = Atomic<Int32>(0)

private func noteSignal(_ number: Int32) { interruption.store(number, ordering: .relaxed) }

/// Runs the body while signals that would end the program only set ``arrivedSignal``.
func notingSignals<Result>(_ body: () throws -> Result) rethrows -> Result {
  // Touched here, so that the handler never is the one to initialise it.
  interruption.store(0, ordering: .relaxed)
  let signals = [SIGINT, SIGTERM, SIGHUP, SIGPIPE]
  for number in signals { _ = signal(number, noteSignal) }
  defer { for number in signals { _ = signal(number, SIG_DFL) } }
  return try body()
}

/// Runs the body with the terminal in raw mode: every key comes as it is typed, and none is echoed. The terminal is
/// put back afterwards, also when the body throws; signals are noted meanwhile.
func withRawTerminal<Result>(_ body: () throws -> Result) throws -> Result {
  var before = termios()
  // Safe: both structures are this function's own, and filled before they are used.
  guard unsafe tcgetattr(STDIN_FILENO, &before) == 0 else { return try body() }
  return try notingSignals {
    var raw = before
    unsafe cfmakeraw(&raw)
    _ = unsafe tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw)
    defer { _ = unsafe tcsetattr(STDIN_FILENO, TCSAFLUSH, &before) }
    return try body()
  }
}

/// Asks a question on stderr. True for yes.
func confirms(_ question: String) -> Bool {
  StandardError.write("\(question) [y/N] ")
  return ["y", "yes"].contains(readLine()?.lowercased())
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
