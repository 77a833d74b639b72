import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport
import Testing

@testable import vmpool

@Suite struct ArgumentTests {
  @Test(arguments: [
    ("0", 0), ("5", 5000), ("5s", 5000), ("1.5", 1500), ("1.5s", 1500), ("0.001s", 1), ("250ms", 250), ("0ms", 0),
    ("2m", 120_000), ("0.5m", 30_000), ("24h", 86_400_000), ("90d", 7_776_000_000), ("0.5d", 43_200_000),
    ("1.50s", 1500), ("999999999999ms", 999_999_999_999),
  ])
  func readsDurations(text: String, milliseconds: Int) {
    #expect(DurationArgument(argument: text)?.milliseconds == milliseconds)
  }

  @Test(arguments: [
    "", "s", "ms", ".", ".5s", "5.s", "-5s", "+5s", "5 s", "5S", "5D", "1h30m", "1e3", "0x10", "1.2.3s", "0.5ms",
    "0.0001s", "5us", "٥s", "9999999999999", "999999999999d", "∞",
  ])
  func refusesWhatIsNoDuration(text: String) {
    #expect(DurationArgument(argument: text) == nil)
  }

  @Test func saysDurationsAsTheyAreRead() {
    for (milliseconds, text) in [(0, "0s"), (1, "1ms"), (1500, "1500ms"), (10_000, "10s")] {
      let duration = DurationArgument(milliseconds: milliseconds)
      #expect(duration.description == text)
      #expect(DurationArgument(argument: text) == duration)
    }
  }

  @Test func readsLabels() {
    #expect(Label(argument: "a=b")?.name == "a")
    #expect(Label(argument: "a=b=c")?.value == "b=c")
    #expect(Label(argument: "a=")?.value == "")
    #expect(Label(argument: "=b") == nil)
    #expect(Label(argument: "a") == nil)
  }

  @Test(
    arguments: [
      ("0", ReadyRange(0)), ("3", ReadyRange(3)), ("1:3", ReadyRange(min: 1, max: 3)), ("2:2", ReadyRange(2)),
      ("3:1", ReadyRange(min: 3, max: 1)), ("-1", ReadyRange(-1)), ("", nil), (":", nil), ("1:", nil), (":2", nil),
      ("1:2:3", nil), ("none", nil),
      ("1:x", nil),
    ] as [(String, ReadyRange?)])
  func readsHowManyAreReady(text: String, range: ReadyRange?) {
    #expect(ReadyArgument(argument: text)?.range == range)
  }

  /// What no server takes is refused before one is asked, by the rules of declarations.
  @Test(arguments: [
    ["--ready", "3:1"], ["--ready=-1"], ["--ready", "1001"], ["--vcpus", "65"], ["--memory", "65537"],
    ["--max-vms", "100001"], ["--refill-concurrency", "65"], ["--deadline", "25h"], ["--probe-interval", "1ms"],
    ["--image", "No"], ["--max-vms", "1", "--ready", "2"],
  ])
  func refusesWhatNoDeclarationSays(words: [String]) throws {
    let set = ["pools", "set", "p", "--image", "hello", "--ready", "1"]
    _ = try VMPoolCommand.parseAsRoot(set)
    _ = try VMPoolCommand.parseAsRoot(["pools", "patch", "p", "--max-vms", "3"])
    for command in [set, ["pools", "patch", "p"]] {
      #expect(throws: (any Error).self, "\(command + words)") { try VMPoolCommand.parseAsRoot(command + words) }
    }
  }

  @Test func takesNoBeginningThatAllIdsHave() throws {
    for text in ["v", "vm", "vm-", "l", "lease", "lease-"] {
      let failure = #expect(throws: Failure.self) { try checkBeginning(text, of: ["vm-", "lease-"]) }
      #expect(failure?.message.contains("at least one character") == true)
      #expect(failure?.status == ExitCode(64))
    }
    for text in ["vm-1", "lease-0", "a", "1", ""] { try checkBeginning(text, of: ["vm-", "lease-"]) }
  }

  @Test func readsNone() {
    #expect(OrNone<Int>(argument: "none") == OrNone<Int>.none)
    #expect(OrNone<Int>(argument: "3")?.value == 3)
    #expect(OrNone<Int>(argument: "three") == nil)
    #expect(OrNone<DurationArgument>(argument: "2s")?.newValue(\.milliseconds) == .value(2000))
    #expect(OrNone<DurationArgument>(argument: "none")?.newValue(\.milliseconds) == .standard)
  }

  @Test(arguments: [["run", "p"], ["lease", "p"], ["vms", "create", "--image", "i"]])
  func readsWhatAGuestIsTold(words: [String]) throws {
    func options(_ more: String...) throws -> GuestArgumentOptions? {
      switch try VMPoolCommand.parseAsRoot(words + more) {
      case let command as RunCommand: command.arguments
      case let command as LeaseCommand: command.arguments
      case let command as VMsCommand.Create: command.arguments
      default: nil
      }
    }
    let none = try #require(try options())
    #expect(none.commandLine == nil && none.environment == nil)
    let told = try #require(try options("--command-line", "a b", "--env", "A=1=1", "--env", "B="))
    #expect(told.commandLine == "a b")
    #expect(told.environment == ["A": "1=1", "B": ""])
    #expect(throws: (any Error).self) { try options("--env", "A=1", "--env", "A=2") }
    #expect(throws: (any Error).self) { try options("--env", "A") }
  }

  @Test func patchesWhatIsSaid() throws {
    let words = ["pools", "patch", "p", "--ready", "1:2", "--max-vms", "none", "--deadline", "3s", "--no-paused"]
    let command = try #require(VMPoolCommand.parseAsRoot(words) as? PoolsCommand.Patch)
    var changes = PoolChanges()
    changes.ready = ReadyRange(min: 1, max: 2)
    changes.maxVMs = .standard
    changes.deadlineMS = .value(3000)
    changes.paused = false
    #expect(command.changes == changes)
  }
}
