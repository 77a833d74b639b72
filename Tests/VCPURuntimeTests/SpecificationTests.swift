import Foundation
import Testing

@testable import VCPURuntime

/// The table of races in KickProtocol.md says which test shows what: it must go on saying so.
struct SpecificationTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  /// The table's rows: number, what shows the race, and the mutation that was tried.
  private static func rows() throws -> [(number: Int, shownBy: String, mutation: String)] {
    let article = try String(
      contentsOf: root.appending(path: "Sources/VCPURuntime/Documentation.docc/KickProtocol.md"), encoding: .utf8)
    let races = article.components(separatedBy: "\n## ").first { $0.hasPrefix("Races\n") }
    return try #require(races).split(separator: "\n").compactMap { line in
      let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
      return cells.count == 5 ? Int(cells[0]).map { ($0, cells[3], cells[4]) } : nil
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
      let files = FileManager.default.enumerator(at: path, includingPropertiesForKeys: nil)
      for case let file as URL in try #require(files) where file.pathExtension == "swift" {
        functions += try String(contentsOf: file, encoding: .utf8)
      }
    }
    let rows = try Self.rows()
    #expect(rows.map(\.number) == Array(1...22))
    for row in rows {
      let tests = try Self.swiftTests(in: row.shownBy)
      for test in tests {
        let exists = functions.contains("func \(test)(")
        #expect(exists, "race \(row.number) names \(test)")
      }
      if row.number <= 13 { #expect(row.mutation.count > 3, "pitfall \(row.number) was never tried") }
      if row.number <= 13 { #expect(!tests.isEmpty, "pitfall \(row.number) is held by no test") }
    }
  }

  /// Every exit that the host's `linux/kvm.h` knows has been decided.
  @Test func everyExitOfTheHeaderIsDecided() throws {
    let header = try String(contentsOfFile: "/usr/include/linux/kvm.h", encoding: .utf8)
    let definitions = header.matches(
      of: try Regex("#define KVM_EXIT_([A-Z0-9_]+)[ \\t]+([0-9]+)", as: (Substring, Substring, Substring).self))
    let details = ["HYPERV_", "XEN_", "IO_IN", "IO_OUT", "TDX_"]
    let reasons = definitions.filter { exit in !details.contains { exit.output.1.hasPrefix($0) } }
    #expect(reasons.count >= 38)
    for reason in reasons {
      let number = try #require(UInt32(reason.output.2))
      #expect(ExitReason.response(to: number) != nil, "\(reason.output.1)")
    }
    #expect(ExitReason.response(to: 1_000) == nil)
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
