import Foundation
import Testing

/// The table of races in KickProtocol.md says which test shows what: it must go on saying so.
struct SpecificationTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  /// The table's rows: number, and what stands in the last column.
  private static func rows() throws -> [(number: Int, shownBy: String)] {
    let article = try String(
      contentsOf: root.appending(path: "Sources/VCPURuntime/Documentation.docc/KickProtocol.md"), encoding: .utf8)
    let races = article.components(separatedBy: "\n## ").first { $0.hasPrefix("Races\n") }
    return try #require(races).split(separator: "\n").compactMap { line in
      let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
      return cells.count == 4 ? Int(cells[0]).map { ($0, cells[3]) } : nil
    }
  }

  private static func swiftTests(in text: String) throws -> [String] {
    text.matches(of: try Regex("`([A-Za-z.]+)`", as: (Substring, Substring).self))
      .compactMap { $0.output.1.split(separator: ".").last.map(String.init) }
  }

  @Test func everyPitfallHasATestThatExists() throws {
    var functions = ""
    for folder in ["VCPURuntimeTests", "MachineRuntimeTests", "LinuxSupportTests"] {
      let path = Self.root.appending(path: "Tests/" + folder)
      for file in try FileManager.default.contentsOfDirectory(at: path, includingPropertiesForKeys: nil) {
        functions += try String(contentsOf: file, encoding: .utf8)
      }
    }
    let rows = try Self.rows()
    #expect(rows.map(\.number) == Array(1...21))
    for row in rows {
      let tests = try Self.swiftTests(in: row.shownBy)
      for test in tests {
        let exists = functions.contains("func \(test)(")
        #expect(exists, "race \(row.number) names \(test)")
      }
      if row.number <= 13 { #expect(!tests.isEmpty, "pitfall \(row.number) is held by no test") }
    }
  }

  @Test func theModelHasTheLinesThatTheTableNames() throws {
    let run = try String(contentsOf: Self.root.appending(path: "Tests/Models/run"), encoding: .utf8)
    for row in try Self.rows() {
      for mutation in row.shownBy.matches(of: try Regex("[A-Z]+(_[A-Z]+)+")) {
        #expect(run.contains(String(row.shownBy[mutation.range])), "race \(row.number)")
      }
    }
  }
}
