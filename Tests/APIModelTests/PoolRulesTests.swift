import APIModel
import Testing

/// What a pool's declaration may say.
struct PoolRulesTests {
  private func mistakes(_ change: (inout DeclarePoolDocument) -> Void) -> [String] {
    var document = DeclarePoolDocument(image: "hello", ready: ReadyRange(min: 1, max: 2))
    change(&document)
    return document.mistakes.map(\.path)
  }

  @Test func whatIsLeftOutIsRight() {
    #expect(mistakes { _ in } == [])
  }

  /// Both ends of every range are right, and what is one beyond them is not.
  @Test func everyRangeHasTwoEnds() {
    typealias Member = (path: String, range: ClosedRange<Int>, set: (inout DeclarePoolDocument, Int) -> Void)
    let members: [Member] = [
      ("vcpus", PoolRules.vcpus, { $0.vcpus = $1 }), ("memory_mib", PoolRules.memoryMiB, { $0.memoryMiB = $1 }),
      ("ready", PoolRules.ready, { $0.ready = ReadyRange($1) }),
      ("ready.max", 1...PoolRules.ready.upperBound, { $0.ready.max = $1 }),
      ("deadline_ms", PoolRules.deadlineMS, { $0.deadlineMS = $1 }),
      ("refill.concurrency", PoolRules.refillConcurrency, { $0.refill = RefillDocument(concurrency: $1) }),
      ("probe_interval_ms", PoolRules.probeIntervalMS, { $0.probeIntervalMS = $1 }),
      ("ready_when.after_ms", PoolRules.afterMS, { $0.readyWhen = .afterMS($1) }),
      ("ready_timeout_ms", PoolRules.readyTimeoutMS, { $0.readyTimeoutMS = $1 }),
      ("max_vms", 2...PoolRules.maxVMs.upperBound, { $0.maxVMs = $1 }),
    ]
    for (path, range, set) in members {
      #expect(mistakes { set(&$0, range.lowerBound) } == [], "\(path)")
      #expect(mistakes { set(&$0, range.upperBound) } == [], "\(path)")
      #expect(mistakes { set(&$0, range.upperBound + 1) } == [path], "\(path)")
      guard path != "ready.max" else { continue }
      #expect(mistakes { set(&$0, range.lowerBound - 1) } == [path], "\(path)")
    }
  }

  @Test func aTextOnTheConsoleHasSoManyBytes() {
    for (text, isRight) in [("", false), ("x", true), (String(repeating: "é", count: 128), true)] {
      #expect(mistakes { $0.readyWhen = .console(text) } == (isRight ? [] : ["ready_when.console"]))
    }
    #expect(mistakes { $0.readyWhen = .console(String(repeating: "é", count: 128) + "x") } == ["ready_when.console"])
  }

  @Test func aResetNeedsATemplate() {
    #expect(mistakes { $0.onRelease = .reset } == ["on_release"])
    #expect(mistakes { ($0.onRelease, $0.readyWhen) = (.reset, .loaded) } == ["on_release"])
    #expect(mistakes { ($0.onRelease, $0.readyWhen) = (.reset, .started) } == [])
    #expect(mistakes { $0.onRelease = .replace } == [])
    #expect(mistakes { $0.verifyReset = .full } == [])
    let loaded = DeclarePoolDocument(image: "hello", ready: ReadyRange(1))
    let booted = DeclarePoolDocument(image: "hello", ready: ReadyRange(1), readyWhen: .started)
    #expect(loaded.effectiveOnRelease == .replace && booted.effectiveOnRelease == .reset)
  }

  @Test func allMistakesAreFoundAtOnceInTheOrderOfTheMembers() {
    let found = mistakes {
      $0.image = "-"
      $0.vcpus = 0
      $0.ready = ReadyRange(min: 5, max: 4)
      $0.maxVMs = 3
      $0.probeIntervalMS = 9
    }
    #expect(found == ["image", "vcpus", "ready", "max_vms", "probe_interval_ms"])
    let document = DeclarePoolDocument(image: "hello", vcpus: 65, ready: ReadyRange(1))
    let mistake = #expect(throws: DocumentMistake.self) { try document.check() }
    #expect(mistake?.pointer == "/vcpus" && mistake?.description == "vcpus is 65; give 1 to 64.")
  }

  @Test(arguments: [
    ("a", true), ("a-1", true), ("a-", true), ("", false), ("-a", false), ("1a", false), ("A", false),
    ("ä", false), (String(repeating: "a", count: 63), true), (String(repeating: "a", count: 64), false),
  ])
  func names(name: String, isRight: Bool) {
    #expect(PoolRules.isName(name) == isRight)
  }
}
