import CommandLineSupport
import Testing

@testable import vmpool

@Suite struct FormattingTests {
  @Test(arguments: [
    (UInt64(0), "0 ns"), (999, "999 ns"), (1000, "1.00 µs"), (1004, "1.00 µs"), (1005, "1.01 µs"), (9994, "9.99 µs"),
    (9995, "10.0 µs"), (9999, "10.0 µs"), (28412, "28.4 µs"), (99_949, "99.9 µs"), (99_950, "100 µs"),
    (999_499, "999 µs"), (999_500, "1.00 ms"), (1_000_000, "1.00 ms"), (1_234_567, "1.23 ms"),
    (999_999_999, "1.00 s"), (1_000_000_000, "1.00 s"), (61_500_000_000, "61.5 s"), (.max, "18446744074 s"),
  ])
  func humanisesDurations(nanoseconds: UInt64, text: String) {
    #expect(humanised(nanoseconds: nanoseconds) == text)
  }

  @Test func alignsColumns() {
    var table = Table([.init("NAME"), .init("N", alignment: .right), .init("LAST")])
    table.add(["a", "1000", "x"])
    table.add(["longer", "28.4 µs", ""])
    table.add(["", "", "end"])
    #expect(
      table.text == """
        NAME          N  LAST
        a          1000  x
        longer  28.4 µs  -
        -             -  end
        """)
  }

  @Test func alignsValuesOfProperties() {
    #expect(properties([("a", "1"), ("long name", "2")]) == "a:         1\nlong name: 2")
    #expect(properties([]) == "")
  }

  @Test func showsControlCharactersInsteadOfObeyingThem() {
    #expect(printable("a\u{1B}[31mb\r\n\u{7F}\u{9B}é") == #"a\u{1b}[31mb\u{d}\u{a}\u{7f}\u{9b}é"#)
    var table = Table([.init("A")])
    table.add(["\u{1B}c"])
    #expect(table.text == "A\n\\u{1b}c")
  }
}
