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
  func known(milliseconds: Int64, text: String) {
    #expect(RFC3339.text(milliseconds: milliseconds) == text)
    #expect(RFC3339.milliseconds(of: text) == milliseconds)
  }

  @Test(arguments: [
    ("2025-01-31T12:00:00Z", 1_738_324_800_000), ("2025-01-31t12:00:00.0019z", 1_738_324_800_001),
    ("2025-01-31T13:30:00.5+01:30", 1_738_324_800_500), ("2025-01-31T11:00:00-01:00", 1_738_324_800_000),
    ("0000-01-01T00:00:00Z", -62_167_219_200_000),
  ])
  func read(text: String, milliseconds: Int64) { #expect(RFC3339.milliseconds(of: text) == milliseconds) }

  @Test(arguments: [
    "", "2025-01-31", "2025-01-31T12:00:00", "2025-01-31 12:00:00Z", "2025-02-29T00:00:00Z", "1900-02-29T00:00:00Z",
    "2025-04-31T00:00:00Z", "2025-00-01T00:00:00Z", "2025-13-01T00:00:00Z", "2025-01-00T00:00:00Z",
    "2025-01-31T24:00:00Z", "2025-01-31T12:60:00Z", "2025-01-31T12:00:61Z", "2025-01-31T12:00:00+24:00",
    "2025-01-31T12:00:00.Z", "2025-01-31T12:00:00Zx", "２025-01-31T12:00:00Z",
  ])
  func noTime(text: String) { #expect(RFC3339.milliseconds(of: text) == nil) }

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
      #expect(RFC3339.milliseconds(of: date.formatted(style)) == milliseconds, "seed \(seed)")
    }
  }
}
