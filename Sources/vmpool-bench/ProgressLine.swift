import Benchmarks
import CommandLineSupport
import LinuxSupport

/// Shows how far a benchmark has come, on one line of the terminal. Prints nothing where stderr is no terminal.
struct ProgressLine {
  private let isShown = StandardError.isTerminal
  private let benchmark: String
  private let began = MonotonicClock.now()

  init(of benchmark: some Benchmark) { self.benchmark = type(of: benchmark).name }

  func show(_ progress: BenchmarkProgress) {
    guard let next = progress.next else { return clear() }
    guard isShown else { return }
    let percent = 100 * progress.done / max(progress.total, 1)
    var line = "\(percent) %  \(next.label(in: benchmark))"
    if progress.done > 0 {
      let elapsed = MonotonicClock.now() - began
      let left = elapsed / UInt64(progress.done) * UInt64(progress.total - progress.done) / 1_000_000_000
      line += "  \(left / 60):\(left % 60 < 10 ? "0" : "")\(left % 60) left"
    }
    StandardError.write("\r\(line)\u{1B}[K")
  }

  func clear() {
    if isShown { StandardError.write("\r\u{1B}[K") }
  }
}
