import Foundation
import Testing

/// The version stands in VERSION. Programs are built with it; documents that repeat it follow.
struct VersionTests {
  private func text(_ path: String) throws -> String {
    try String(contentsOf: Repository.root.appending(path: path), encoding: .utf8)
  }

  private func version() throws -> String { try text("VERSION").trimmingCharacters(in: .newlines) }

  @Test func itIsASemanticVersion() throws {
    let version = try version()
    #expect(try text("VERSION") == version + "\n", "VERSION is one line")
    #expect(version.wholeMatch(of: /(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?/) != nil, "\(version)")
  }

  @Test(arguments: [
    ("CHANGELOG.md", "\n## {}"), ("deploy/kubernetes/daemonset.yaml", "image: vmpool:{}\n"),
    ("openapi/vmpool.yaml", "    Host:\n      value:\n        version: {}\n"),
  ])
  func documentsRepeatIt(path: String, form: String) throws {
    let expected = form.replacing("{}", with: try version())
    #expect(try text(path).contains(expected), "\(path) does not say \(expected)")
  }

  @Test func noSourceRepeatsIt() throws {
    let literal = "\"\(try version())\""
    for (path, text) in try Repository.files(in: "Sources", endings: ["swift", "c", "h"]) {
      #expect(!text.contains(literal), "\(path) has the version: use Release.version")
    }
  }

  @Test func theCompilerIsTheOneThatImagesAreBuiltWith() throws {
    let compiler = try text(".swift-version").trimmingCharacters(in: .newlines)
    #expect(try text("deploy/docker/Dockerfile").contains("FROM swift:\(compiler)-bookworm AS build\n"))
  }
}
