import TestSupport
import Testing

@testable import ServerConfiguration

/// What is said of a wrong file: where, what, and what to write instead.
struct MistakeTests {
  private func lines(_ text: String) -> [String] { lines(Array(text.utf8)) }

  private func lines(_ bytes: [UInt8]) -> [String] {
    do throws(ConfigurationError) {
      _ = try ConfigurationFile(parsing: bytes, path: "f")
      return []
    } catch {
      return error.lines
    }
  }

  static let one: [(String, String)] = [
    // Members.
    ("pool: {}", "f:1:1: the file.pool is not known; did you mean pools?"),
    ("quite: else", "f:1:1: the file.quite is not known; known are pools"),
    ("pools:\n  a:\n    image: b\n    vcpu: 1", "f:4:5: pools.a.vcpu is not known; did you mean vcpus?"),
    ("pools: {a: {image: b, memory: 1}}", known("memory")),
    ("pools: {a: {image: b, readz: 1}}", "f:1:23: pools.a.readz is not known; did you mean ready?"),
    (
      "pools: {a: {image: b, refill: {parallel: 1}}}",
      "f:1:32: pools.a.refill.parallel is not known; known are concurrency"
    ),
    (
      "pools: {a: {image: b, ready: {min: 1, max: 2, mid: 3}}}",
      "f:1:47: pools.a.ready.mid is not known; did you mean min?"
    ),
    ("pools: {a: {}}", "f:1:9: pools.a has no image; add image: NAME"),
    // Types.
    ("[]", "f:1:1: the file is a list, and must be a mapping: NAME: VALUE on each line"),
    ("text", "f:1:1: the file is text, and must be a mapping: NAME: VALUE on each line"),
    ("pools: [a]", "f:1:8: pools is a list, and must be a mapping: NAME: VALUE on each line"),
    ("pools:\n  a: hello", "f:2:6: pools.a is hello, and must be a mapping: NAME: VALUE on each line"),
    ("pools:\n  a:", "f:2:5: pools.a is nothing, and must be a mapping: NAME: VALUE on each line"),
    ("pools: {a: {image: b, vcpus: two}}", number("two")),
    ("pools: {a: {image: b, vcpus: '2'}}", number("text in quotes")),
    ("pools: {a: {image: b, vcpus: 0x2}}", number("0x2")), ("pools: {a: {image: b, vcpus: 02}}", number("02")),
    ("pools: {a: {image: b, vcpus: 2.0}}", number("2.0")), ("pools: {a: {image: b, vcpus: +2}}", number("+2")),
    ("pools: {a: {image: b, vcpus: --2}}", number("--2")), ("pools: {a: {image: b, vcpus: -}}", number("-")),
    ("pools: {a: {image: b, vcpus: }}", number("nothing")), ("pools: {a: {image: b, vcpus: [1]}}", number("a list")),
    ("pools: {a: {image: b, paused: yes}}", "f:1:31: pools.a.paused is yes, and must be true or false"),
    ("pools: {a: {image: b, paused: 'true'}}", "f:1:31: pools.a.paused is true, and must be true or false"),
    ("pools: {a: {image: b, paused: 1}}", "f:1:31: pools.a.paused is 1, and must be true or false"),
    ("pools: {a: {image: }}", "f:1:20: pools.a.image is nothing, and must be a name"),
    ("pools: {a: {image: [b]}}", "f:1:20: pools.a.image is a list, and must be a name"),
    (
      "pools: {a: {image: b, refill: 2}}",
      "f:1:31: pools.a.refill is 2, and must be a mapping: NAME: VALUE on each line"
    ),
    ("pools: {[a]: {image: b}}", "f:1:9: a list is no name"),
    // Ranges.
    ("pools: {a: {image: b, vcpus: 0}}", range("vcpus", "0", 1, 64)),
    ("pools: {a: {image: b, vcpus: 65}}", range("vcpus", "65", 1, 64)),
    ("pools: {a: {image: b, vcpus: -1}}", range("vcpus", "-1", 1, 64)),
    ("pools: {a: {image: b, vcpus: 99999999999999999999}}", range("vcpus", "99999999999999999999", 1, 64)),
    ("pools: {a: {image: b, memory_mib: 65537}}", range("memory_mib", "65537", 1, 65536)),
    ("pools: {a: {image: b, max_vms: 0}}", range("max_vms", "0", 1, 100_000)),
    ("pools: {a: {image: b, deadline_ms: 0}}", range("deadline_ms", "0", 1, 86_400_000)),
    ("pools: {a: {image: b, ready: 1001}}", range("ready", "1001", 0, 1000)),
    (
      "pools: {a: {image: b, ready: {min: 0, max: 1001}}}",
      "f:1:44: pools.a.ready.max is 1001, which is out of range; write a whole number from 0 to 1000"
    ),
    (
      "pools: {a: {image: b, refill: {concurrency: 65}}}",
      "f:1:45: pools.a.refill.concurrency is 65, which is out of range; write a whole number from 1 to 64"
    ),
    (
      "pools: {a: {image: b, ready: {min: 3, max: 2}}}",
      "f:1:30: pools.a.ready.min is 3, above ready.max, which is 2"
    ),
    (
      "pools: {a: {image: b, ready: {min: 3}}}",
      "f:1:30: pools.a.ready has no max; give both min and max, or one number for both"
    ),
    (
      "pools: {a: {image: b, ready: 4, max_vms: 3}}",
      "f:1:42: pools.a.max_vms is 3, below ready.max, which is 4"
    ),
    // Names.
    ("pools: {A: {image: b}}", "f:1:9: A is no name for a pool; \(MappingReader.nameAdvice)"),
    ("pools: {1a: {image: b}}", "f:1:9: 1a is no name for a pool; \(MappingReader.nameAdvice)"),
    ("pools: {a_b: {image: b}}", "f:1:9: a_b is no name for a pool; \(MappingReader.nameAdvice)"),
    ("pools: {'': {image: b}}", "f:1:9:  is no name for a pool; \(MappingReader.nameAdvice)"),
    ("pools: {ä: {image: b}}", "f:1:9: ä is no name for a pool; \(MappingReader.nameAdvice)"),
    ("pools: {a: {image: B/b}}", "f:1:20: pools.a.image is B/b, which is no name; \(MappingReader.nameAdvice)"),
    // The ready point.
    (
      "pools: {a: {image: b, ready_when: booted}}",
      "f:1:35: pools.a.ready_when is booted; write loaded, started, {console: TEXT} or {after_ms: NUMBER}"
    ),
    (
      "pools: {a: {image: b, ready_when: {console: 1}}}",
      "f:1:45: pools.a.ready_when.console is 1, and must be text; put it in quotes"
    ),
    (
      "pools: {a: {image: b, ready_when: {console: ''}}}",
      "f:1:45: pools.a.ready_when.console has 0 bytes; write 1 to 256"
    ),
    (
      "pools: {a: {image: b, ready_when: {}}}",
      "f:1:35: pools.a.ready_when has not one of console and after_ms alone; write loaded, started, {console: TEXT} or {after_ms: NUMBER}"
    ),
    // What becomes of a VM.
    ("pools: {a: {image: b, on_release: keep}}", "f:1:35: pools.a.on_release is keep; write reset or replace"),
    ("pools: {a: {image: b, on_release: }}", "f:1:35: pools.a.on_release is nothing; write reset or replace"),
    (
      "pools: {a: {image: b, verify_reset: [off]}}",
      "f:1:37: pools.a.verify_reset is a list; write off, sampled or full"
    ),
    (
      "pools: {a: {image: b, on_release: reset}}",
      "f:1:35: pools.a.on_release is reset, which needs a template to go back to, and ready_when is loaded: give ready_when another value, or make on_release replace"
    ),
    // Duplicates.
    (
      "pools:\n  a: {image: b}\n  b: {image: b}\n  a: {image: c}",
      "f:4:3: a is given twice, first in line 2; keep one of them"
    ),
    (
      "pools:\n  a:\n    image: b\n    vcpus: 1\n    image: c",
      "f:5:5: image is given twice, first in line 3; keep one of them"
    ),
    // What YAML can do, and we do not want.
    ("pools: &p {}", "f:1:8: anchors are not taken here; write out what is meant"),
    ("pools: !!map {}", "f:1:8: tags are not taken here; write out what is meant"),
    ("pools: {}\n---\npools: {}", "f:2:1: a second document begins here; keep one to a file"),
    ("a: [[[[[[[[[[[[[[[[[[", "f:1:19: this is nested more than 16 deep; nothing here goes so deep"),
    // What is no YAML.
    ("pools: {", "f:2:1: this is not YAML: did not find expected node content while parsing a flow node"),
    (
      "pools:\n\ta: b",
      "f:2:1: this is not YAML: found character that cannot start any token while scanning for the next token"
    ),
  ]

  private static func known(_ name: String) -> String {
    "f:1:23: pools.a.\(name) is not known; known are image, vcpus, memory_mib, ready, max_vms, deadline_ms, refill, paused, probe_interval_ms, ready_when, ready_timeout_ms, on_release, verify_reset, shared"
  }

  private static func number(_ what: String) -> String {
    "f:1:30: pools.a.vcpus is \(what), and must be a number; write a whole number from 1 to 64"
  }

  private static func range(_ name: String, _ number: String, _ low: Int, _ high: Int) -> String {
    "f:1:\(25 + name.count): pools.a.\(name) is \(number), which is out of range; write a whole number from \(low) to \(high)"
  }

  @Test(arguments: one) func aMistakeIsSaid(text: String, line: String) {
    #expect(lines(text) == [line])
  }

  @Test func allMistakesAreSaidInTheirOrder() {
    let found = lines(
      """
      pools:
        build:
          vcpus: 65
          memory_mib: x
          image: Hello
        other: &anchor
          image: hello
        third: *anchor
        build: {}
      quools: 1
      """)
    #expect(
      found == [
        "f:3:12: pools.build.vcpus is 65, which is out of range; write a whole number from 1 to 64",
        "f:4:17: pools.build.memory_mib is x, and must be a number; write a whole number from 1 to 65536",
        "f:5:12: pools.build.image is Hello, which is no name; \(MappingReader.nameAdvice)",
        "f:6:10: anchors are not taken here; write out what is meant",
        "f:8:10: aliases are not taken here; write out what is meant",
        "f:9:3: build is given twice, first in line 2; keep one of them",
        "f:10:1: the file.quools is not known; did you mean pools?",
      ])
  }

  @Test func columnsCountCharacters() {
    #expect(
      lines("pools: {a: {image: \"ü\u{1F600}\", x: 1}}").map { $0.split(separator: " ")[0] } == ["f:1:20:", "f:1:26:"])
  }

  @Test func bytesThatAreNoTextAreFound() {
    let found = lines(Array("pools:\n  a: x".utf8) + [0xFF, 0xFE])
    #expect(found.count == 1)
    #expect(found[0].hasPrefix("f:2:7: this is not UTF-8 text"), "\(found)")
    #expect(lines([0xFF, 0xFE, 0x70, 0x00]).count == 1)
  }

  @Test func whatIsShownIsShortAndPlain() {
    let long = String(repeating: "x", count: 1000)
    let line = lines("pools: {a: {image: b, \"\\e[31m\(long)\": 1}}")[0]
    #expect(line.count < 300)
    #expect(!line.unicodeScalars.contains("\u{1B}"))
  }

  @Test func aFileThatIsTooLongIsNotLookedAt() {
    let text = "pools: {} "
    let comment = text + String(repeating: "#", count: ConfigurationFile.sizeLimit - text.utf8.count)
    #expect(lines(comment).isEmpty)
    #expect(lines(comment + "#") == ["f:1:1: the file has more than 1048576 bytes; make it smaller"])
  }

  @Test func noMoreThanAHundredMistakesAreSaid() {
    let text = (0..<5000).map { "x\($0): 1\n" }.joined()
    let found = lines(text)
    #expect(found.count == 100)
    #expect(found.last!.hasSuffix("(and there are more mistakes)"))
    #expect(!lines((0..<100).map { "x\($0): 1\n" }.joined()).last!.hasSuffix("(and there are more mistakes)"))
  }

  /// Each level means nine of the one below it: 9^9 nodes if it were followed.
  @Test func aBombDoesNotGoOff() {
    var text = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for (one, next) in zip("abcdefgh", "bcdefghi") {
      text += "\(next): &\(next) [" + Array(repeating: "*\(one)", count: 9).joined(separator: ", ") + "]\n"
    }
    #expect(lines(text + "? [*i, *i]\n: 1\n").contains("f:1:4: anchors are not taken here; write out what is meant"))
  }

  @Test(arguments: ["[", "{", "- ", "? ", "a: {", "&a [", "!x ["]) func deepNestingIsRefused(opener: String) {
    let text = String(repeating: opener, count: 1_000_000 / opener.count)
    #expect(!lines(text).isEmpty)
  }

  @Test func mutationsNeverCrash() {
    var generator = SeededGenerator(for: "mutationsNeverCrash")
    let seeds = Self.one.map { Array($0.0.utf8) }
    let pieces = [
      "&a ", "*a", "!!int ", "- ", "? ", ": ", "{", "}", "[", "]", "'", "\"", "\\x", "|\n", ">", "%", "\t", "\n",
      "---\n", "...\n", "\u{FEFF}", "\u{0}", "<<: ",
    ]
    .map { Array($0.utf8) }
    var right = 0
    for _ in 0..<20_000 {
      var bytes = seeds.randomElement(using: &generator)!
      for _ in 0..<Int.random(in: 1...4, using: &generator) {
        let place = Int.random(in: 0...bytes.count, using: &generator)
        switch Int.random(in: 0..<4, using: &generator) {
        case 0: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: place)
        case 1: bytes.insert(contentsOf: pieces.randomElement(using: &generator)!, at: place)
        case 2: bytes.removeSubrange(place..<min(bytes.count, place + 3))
        default: bytes.insert(contentsOf: seeds.randomElement(using: &generator)!, at: place)
        }
      }
      let found = lines(bytes)
      if found.isEmpty { right += 1 }
      #expect(found.allSatisfy { $0.hasPrefix("f:") && !$0.contains("\n") })
    }
    #expect(right > 0)
  }
}
