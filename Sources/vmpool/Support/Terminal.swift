import CommandLineSupport
import Glibc
import Synchronization

/// Whether stdin is a terminal.
var isTerminal: Bool { isatty(STDIN_FILENO) == 1 }

/// The signal that came during ``notingSignals(_:)``: SIGINT, SIGTERM, SIGQUIT, SIGHUP or SIGPIPE; nil for none.
var arrivedSignal: Int32? {
  let number = interruption.load(ordering: .relaxed)
  return number == 0 ? nil : number
}

/// The signal handler sets it, the polling loops read it: nothing else passes between them, so no order is needed.
private let interruption = Atomic<Int32>(0)

/// When the first signal came, in ms of CLOCK_MONOTONIC.
private let interruptionMS = Atomic<Int>(0)

/// Whether SIGINT, SIGTERM or SIGQUIT came after another signal: the user does not want to wait for what the first one began.
var signalCameAgain: Bool { repetition.load(ordering: .relaxed) }

private let repetition = Atomic<Bool>(false)

private func noteSignal(_ number: Int32) {
  var now = timespec()
  // Safe: the kernel fills the structure, which is a local. The function may be called in a handler.
  unsafe _ = clock_gettime(CLOCK_MONOTONIC, &now)
  let nowMS = now.tv_sec * 1000 + now.tv_nsec / 1_000_000
  if interruption.exchange(number, ordering: .relaxed) == 0 {
    interruptionMS.store(nowMS, ordering: .relaxed)
  } else if number == SIGINT || number == SIGTERM || number == SIGQUIT,
    nowMS - interruptionMS.load(ordering: .relaxed) >= 500
  {
    // timeout(1) sends a signal to a process and to its group in a row, which is one signal for its user.
    repetition.store(true, ordering: .relaxed)
  }
}

/// Runs the body while signals that would end the program only set ``arrivedSignal``.
func notingSignals<Result>(_ body: () throws -> Result) rethrows -> Result {
  // The first use initialises it, which must not happen in the handler.
  interruption.store(0, ordering: .relaxed)
  interruptionMS.store(0, ordering: .relaxed)
  repetition.store(false, ordering: .relaxed)
  // One that the parent had ignored stays so, as nohup(1) and shells' background jobs need it.
  let signals = [SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGPIPE].filter { !isIgnored($0) }
  for number in signals { _ = signal(number, noteSignal) }
  defer { for number in signals { _ = signal(number, SIG_DFL) } }
  return try body()
}

/// How a terminal passes keys on.
enum TerminalMode {
  /// Every key as it is typed, Ctrl-C included, without an echo; output as it is.
  case raw
  /// Every key as it is typed, without an echo; Ctrl-C and Ctrl-\ are signals as ever.
  case keys
}

/// Runs the body with the terminal in that mode, and restores it afterwards, also when the body throws. Signals are
/// noted meanwhile.
func withTerminal<Result>(_ mode: TerminalMode, _ body: () throws -> Result) throws -> Result {
  try notingSignals { try inTerminalMode(mode, body) }
}

/// The same for a caller that notes signals itself.
func inTerminalMode<Result>(_ mode: TerminalMode, _ body: () throws -> Result) throws -> Result {
  var before = termios()
  // Safe, here and below: the structures are this function's own, and filled before they are used.
  guard unsafe tcgetattr(STDIN_FILENO, &before) == 0 else { return try body() }
  var changed = before
  switch mode {
  case .raw: unsafe cfmakeraw(&changed)
  case .keys: changed.c_lflag &= ~tcflag_t(ICANON | ECHO)
  }
  _ = unsafe tcsetattr(STDIN_FILENO, TCSAFLUSH, &changed)
  defer { _ = unsafe tcsetattr(STDIN_FILENO, TCSAFLUSH, &before) }
  return try body()
}

extension StandardOutput {
  /// The terminal's width in characters; nil where stdout is no terminal.
  static var width: Int? { isTerminal ? size.map { Int($0.ws_col) } : nil }

  /// The terminal's height in lines; 24 where it does not say.
  static var height: Int { size.map { Int($0.ws_row) } ?? 24 }

  private static var size: winsize? {
    var size = winsize()
    // Safe: the kernel fills the structure, which is a local.
    guard unsafe ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 else {
      return nil
    }
    return size
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
  return unsafe poll(&request, 1, Int32(clamping: milliseconds)) > 0
}

/// What stdin has now, up to `limit` bytes; nil at its end, or when it cannot be read.
func readInput(atMost limit: Int) -> [UInt8]? {
  // Safe: the buffer has room for `limit` bytes, and the count is what was filled.
  let bytes = unsafe [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
    count = unsafe max(0, read(STDIN_FILENO, buffer.baseAddress, limit))
  }
  return bytes.isEmpty ? nil : bytes
}
