import Foundation
import Testing

/// What holds for every file.
struct FileTests {
  @Test(arguments: ["Sources", "Tests"]) func filesAreOfReadableSize(folder: String) throws {
    for (path, text) in try Repository.files(in: folder, endings: ["swift", "c", "h", "S"]) {
      let lines = text.split(separator: "\n", omittingEmptySubsequences: false).count
      #expect(lines <= 500, "\(path) has \(lines) lines: it is probably two files")
    }
  }

  @Test func noForceTryAndNoFatalErrorInTheServer() throws {
    for (path, text) in try Repository.files(in: "Sources", endings: ["swift"]) {
      #expect(!text.contains("try!"), "\(path) uses try!")
      #expect(!text.contains("fatalError("), "\(path) uses fatalError")
    }
  }

  @Test func theTopLevelHoldsWhatItSays() throws {
    let expected = [
      "Package.swift", "Makefile", "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md",
      "LICENSE", "RELEASING.md", "VERSION", ".swift-version", "Tests/README.md", "docs/metrics.md", ".swift-format",
      ".ci/run", "Sources", "Tests", "openapi/vmpool.yaml", "deploy", "docs/runbook.md",
    ]
    for name in expected {
      #expect(FileManager.default.fileExists(atPath: Repository.root.appending(path: name).path), "\(name) is missing")
    }
  }
}
