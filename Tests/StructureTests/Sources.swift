import Foundation
import Testing

/// The repository as the tests see it.
enum Repository {
  static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  /// Files below `folder` with one of these endings, with their path from the root.
  static func files(in folder: String, endings: Set<String>) throws -> [(path: String, text: String)] {
    let base = root.appending(path: folder)
    let paths = try #require(FileManager.default.enumerator(atPath: base.path))
    return try paths.compactMap { $0 as? String }.filter { endings.contains(URL(filePath: $0).pathExtension) }.sorted()
      .map { path in
        (folder + "/" + path, try String(contentsOf: base.appending(path: path), encoding: .utf8))
      }
  }

  /// Documents and Swift sources, whose words are checked. The changelog is left out: what was written stays.
  static func prose() throws -> [(path: String, text: String)] {
    var found = try ["README", "ARCHITECTURE", "CONTRIBUTING", "SECURITY", "RELEASING", "Tests/README"].map { name in
      (name + ".md", try String(contentsOf: root.appending(path: name + ".md"), encoding: .utf8))
    }
    found += try files(in: "docs", endings: ["md"])
    found += try files(in: "openapi", endings: ["yaml"])
    found += try files(in: "Sources", endings: ["swift", "md"])
    return found
  }

  /// The modules that each target below Sources imports.
  static func importsByModule() throws -> [String: Set<String>] {
    var imports: [String: Set<String>] = [:]
    for (path, text) in try files(in: "Sources", endings: ["swift"]) {
      let module = String(path.split(separator: "/")[1])
      for line in text.split(separator: "\n") {
        let words = line.split(separator: " ").filter { !["public", "internal", "package", "@testable"].contains($0) }
        guard words.first == "import", words.count >= 2 else { continue }
        imports[module, default: []].insert(String(words.last ?? "").split(separator: ".").first.map(String.init) ?? "")
      }
    }
    return imports
  }
}
