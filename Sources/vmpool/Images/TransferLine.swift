import CommandLineSupport

/// Shows how far a transfer has come, on one line of the terminal. Prints nothing where stderr is no terminal.
struct TransferLine {
  private let isShown = StandardError.isTerminal
  private let path: String
  private let size: Int
  private var percent = -1

  init(_ path: String, size: Int) { (self.path, self.size) = (path, size) }

  /// Shows that `done` bytes have gone.
  mutating func show(_ done: Int) {
    let now = size == 0 ? 100 : Int(Double(done) / Double(size) * 100)
    guard isShown, now != percent else { return }
    percent = now
    StandardError.write("\r\(printable(path))  \(now) % of \(humanised(bytes: UInt64(size)))\u{1B}[K")
  }

  /// Removes the line.
  func clear() { if isShown { StandardError.write("\r\u{1B}[K") } }
}
