import Glibc

/// Whether the process ignores a signal, as nohup(1) and shells make their background jobs do.
public func isIgnored(_ number: Int32) -> Bool {
  var action = sigaction()
  // Safe: the call fills the structure, a local. SIG_IGN is the address 1 in place of a function's.
  guard unsafe sigaction(number, nil, &action) == 0 else { return false }
  return unsafe unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == 1
}

/// SIGQUIT, which Ctrl-\ sends.
enum QuitSignal {
  /// Lets it end the program. Swift's runtime takes it for a crash where stdin is a terminal, and shows a backtrace.
  static func endsTheProgram() {
    if !isIgnored(SIGQUIT) { _ = signal(SIGQUIT, SIG_DFL) }
  }
}
