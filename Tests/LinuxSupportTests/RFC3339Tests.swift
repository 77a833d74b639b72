import Foundation
import LinuxSupport
import TestSupport
import Testing

@Suite struct RFC3339Tests {
  @Test(arguments: [
    (0, "1970-01-01T00:00:00.000Z"), (-1, "1969-12-31T23:59:59.999Z"),
    (951_782_400_000, "2000-02-29T00:00:00.000Z"), (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
    (4_107_542_400_000, "2100-03-01T00:00:00.000Z"), (1_738_324_800_001, "2025-01-31T12:00:00.001Z"),
  ])
  func known(milliseconds: Int64, text: String) { #expect(RFC3339.text(milliseconds: milliseconds) == text) }

  @Test func agreesWithFoundation() {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("seed \(seed)")
    var generator = SeededGenerator(seed: seed)
    let style = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
    for _ in 0..<500 {
      // A quarter past the millisecond, so that a Double's rounding does not matter.
      let milliseconds = Int64.random(in: 0..<253_402_300_800_000, using: &generator)
      let date = Date(timeIntervalSince1970: (Double(milliseconds) + 0.25) / 1000)
      #expect(RFC3339.text(milliseconds: milliseconds) == date.formatted(style), "seed \(seed)")
    }
  }
}
