import Testing

@testable import vmpoold

struct StartReportTests {
  /// What the first lines say to type is one word for a shell.
  @Test(arguments: [
    ("unix:/run/vmpool/vmpoold.sock", "unix:/run/vmpool/vmpoold.sock"), ("host-1:80", "host-1:80"),
    ("unix:/my run/$(id)", "'unix:/my run/$(id)'"), ("unix:/it's", #"'unix:/it'\''s'"#), ("[::1]:80", "'[::1]:80'"),
  ])
  func quotesForAShell(text: String, word: String) {
    #expect(StartReport.shellWord(text) == word)
  }
}
