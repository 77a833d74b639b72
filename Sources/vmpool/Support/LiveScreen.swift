import ArgumentParser
import CommandLineSupport
import Glibc

/// A text that is shown anew at intervals: in the terminal's place, or one after the other where stdout is no terminal.
struct LiveScreen {
  let interval: DurationArgument
  /// How many times it is shown; nil for no limit.
  var frames: Int?

  /// Shows what `frame` returns, again and again. `q` on a terminal ends it; a signal throws exit status 128 + number.
  ///
  /// `frame` gets the terminal's width in characters; nil where stdout is no terminal. There it does not print the same text
  /// twice in a row.
  func run(_ frame: (_ width: Int?) throws -> String) throws {
    try withKeys {
      let isTerminal = StandardOutput.isTerminal
      // The alternate screen keeps what the terminal shows; the cursor would jump about.
      if isTerminal { try StandardOutput.print("\u{1B}[?1049h\u{1B}[?25l", terminator: "") }
      defer { if isTerminal { _ = writeAll(Array("\u{1B}[?25h\u{1B}[?1049l".utf8), to: STDOUT_FILENO) } }
      try loop(isTerminal, frame)
    }
    if let number = arrivedSignal { throw ExitCode(128 + number) }
  }

  private func loop(_ isTerminal: Bool, _ frame: (Int?) throws -> String) throws {
    var last: String?
    var shown = 0
    while arrivedSignal == nil {
      let text = try frame(StandardOutput.width)
      if isTerminal {
        try StandardOutput.print(Self.page(text, lines: StandardOutput.height), terminator: "")
      } else if text != last {
        try StandardOutput.print(text)
        last = text
      }
      shown += 1
      if shown == frames { return }
      if try isLeft() { return }
    }
  }

  /// The text in the terminal's upper left corner, each line cleared to its end, and nothing below.
  private static func page(_ text: String, lines: Int) -> String {
    let shown = text.split(separator: "\n", omittingEmptySubsequences: false).prefix(max(1, lines - 1))
    return "\u{1B}[H" + shown.map { $0 + "\u{1B}[K\r\n" }.joined() + "\u{1B}[J"
  }

  /// Waits for the interval, or a key, or a signal. True when `q` was typed.
  private func isLeft() throws -> Bool {
    let end = ContinuousClock.now + interval.duration
    while arrivedSignal == nil {
      let rest = Int((ContinuousClock.now.duration(to: end) / .milliseconds(1)).rounded(.up))
      guard rest > 0 else { return false }
      // In slices: a signal that comes just before the wait does not interrupt it.
      guard waitForInput(Self.takesKeys, milliseconds: min(rest, 200)) else { continue }
      guard let keys = readInput(atMost: 64) else { return true }
      if keys.contains(UInt8(ascii: "q")) { return true }
    }
    return false
  }

  /// Whether keys are read: a pipeline's first command leaves them to the last.
  private static var takesKeys: Bool { isTerminal && StandardOutput.isTerminal }

  /// Runs the body while keys come as they are typed, and signals are noted.
  private func withKeys(_ body: () throws -> Void) throws {
    if Self.takesKeys {
      try withTerminal(.keys, body)
    } else {
      try notingSignals(body)
    }
  }
}
