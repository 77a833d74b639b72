import APIModel
import Foundation
import TestSupport
import Testing

@testable import ServerConfiguration

/// What a right file means.
struct ConfigurationFileTests {
  private func pools(_ text: String) throws -> [PoolDeclaration] {
    try ConfigurationFile(parsing: Array(text.utf8), path: "f").pools
  }

  @Test func everyMemberArrives() throws {
    let pools = try pools(
      """
      # a comment
      pools:
        build:
          image: hello
          vcpus: 1
          memory_mib: 2
          ready: {min: 2, max: 4}     # or one number
          max_vms: 16
          deadline_ms: 60000
          refill: {concurrency: 2}
          paused: false
        spare:
          image: "spin"
          ready: 3
          paused: True
      """)
    #expect(pools.map(\.name) == ["build", "spare"])
    let expected = PoolDeclaration(
      name: "build",
      document: DeclarePoolDocument(
        image: "hello", vcpus: 1, memoryMiB: 2, ready: ReadyRange(min: 2, max: 4), maxVMs: 16, deadlineMS: 60_000,
        refill: RefillDocument(concurrency: 2), paused: false),
      position: .init(line: 3, column: 3))
    #expect(pools[0] == expected)
    let spare = PoolDeclaration(
      name: "spare", document: DeclarePoolDocument(image: "spin", ready: ReadyRange(3), paused: true),
      position: .init(line: 12, column: 3))
    #expect(pools[1] == spare)
  }

  @Test(arguments: ["pools: {}", "pools: {}\n...\n", "# none\n---\npools: {}\n", "\u{FEFF}pools: {}\n"])
  func noPoolsAreDeclaredByName(text: String) throws {
    #expect(try pools(text).isEmpty)
  }

  /// A file that was cut off, or emptied, must not end every pool.
  @Test(arguments: [
    "", "\n", "# nothing\n", "---\n", "{}", "~", "null", "pools:", "pools:\n  # build: {image: hello}\n",
    "pools: null\n...\n", "pools: ~", "\u{FEFF}pools:\n", "\u{FEFF}",
  ])
  func nothingIsAMistake(text: String) throws {
    let error = #expect(throws: ConfigurationError.self) { try pools(text) }
    #expect(error?.lines.count == 1)
    #expect(error?.lines.first?.hasSuffix("write pools: {} if there are to be none") == true, "\(error?.lines ?? [])")
  }

  /// What is left of a file that was cut off declares pools as they stand in it, or is a mistake; it never declares none.
  @Test func aFileCutOffNeverDeclaresNothing() throws {
    let text = "pools:\n  build:\n    image: hello\n    ready: {min: 2, max: 4}\n  spare: {image: spin}\n"
    for length in 0..<text.utf8.count {
      let kept = try? ConfigurationFile(parsing: Array(text.utf8.prefix(length)), path: "f")
      #expect(kept?.pools.isEmpty != true, "the first \(length) bytes declare no pools")
    }
  }

  @Test func limitsBelongToTheRange() throws {
    for (member, low, high) in [
      ("vcpus", 1, 8), ("memory_mib", 1, 1024), ("ready", 0, 1000), ("max_vms", 1, 100_000),
      ("deadline_ms", 1, 86_400_000),
      ("probe_interval_ms", 10, 3_600_000), ("ready_timeout_ms", 1, 600_000),
    ] {
      for number in [low, high] {
        #expect(try pools("pools: {a: {image: b, \(member): \(number)}}").count == 1, "\(member) \(number)")
      }
    }
    #expect(try pools("pools: {a: {image: b, ready: {min: 4, max: 4}, max_vms: 4}}").count == 1)
  }

  @Test func theReadyPointHasFourForms() throws {
    let cases: [(String, ReadyWhen)] = [
      ("loaded", .loaded), ("'started'", .started), ("{console: 'login:'}", .console("login:")),
      ("{console: Welcome to Debian}", .console("Welcome to Debian")), ("{console: '12'}", .console("12")),
      ("{after_ms: 600000}", .afterMS(600_000)),
    ]
    for (text, point) in cases {
      #expect(try pools("pools: {a: {image: b, ready_when: \(text)}}").first?.document.readyWhen == point)
    }
  }

  @Test func whatBecomesOfAVMIsAWord() throws {
    let text = "pools: {a: {image: b, ready_when: started, on_release: reset, verify_reset: off}}"
    let document = try #require(try pools(text).first?.document)
    #expect(document.onRelease == .reset && document.verifyReset == .off)
    for word in ["'off'", "sampled", "full"] {
      #expect(try pools("pools: {a: {image: b, on_release: replace, verify_reset: \(word)}}").count == 1)
    }
  }

  @Test func theOrderIsTheFiles() throws {
    let names = (0..<200).map { "p\($0 * 7 % 200)" }
    let text = "pools:\n" + names.map { "  \($0): {image: hello}\n" }.joined()
    #expect(try pools(text).map(\.name) == names)
  }

  @Test func aFileIsRead() throws {
    let scratch = try ScratchDirectory()
    let path = try scratch.write(Data("pools: {a: {image: hello}}".utf8), to: "vmpool.yaml")
    #expect(try ConfigurationFile(path: path).pools.count == 1)
    let error = #expect(throws: ConfigurationError.self) { try ConfigurationFile(path: path + "-none") }
    #expect(error!.lines == ["\(path)-none: it cannot be read: No such file or directory"])
    #expect(throws: ConfigurationError.self) { try ConfigurationFile(path: "/") }
  }
}
