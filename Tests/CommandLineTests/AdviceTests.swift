import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport
import Testing

@testable import vmpool

@Suite struct AdviceTests {
  @Test(arguments: [
    ("There is no VM vm-1; GET /v1/vms lists them.", "There is no VM vm-1; `vmpool vms` lists them."),
    ("There is no pool p; GET /v1/pools lists them.", "There is no pool p; `vmpool pools` lists them."),
    ("There is no lease l; GET /v1/leases lists them.", "There is no lease l; `vmpool leases` lists them."),
    ("There is no image i; GET /v1/images lists them.", "There is no image i; `vmpool images` lists them."),
    ("There is no blob sha256:0; PUT it at /v1/blobs/sha256:0 first.", "There is no blob sha256:0."),
    (
      "None was ready; try again, wait longer (wait_ms), or less.",
      "None was ready; try again, wait longer (--wait), or less."
    ),
    (
      "The pool p is not as If-Match says: it is \"2\". GET it and try again.",
      "The pool p was changed meanwhile: it is \"2\". Try again."
    ), ("The VM is paused; resume it first.", "The VM is paused; resume it first."),
  ])
  func speaksOfCommandsAndNotOfHTTP(detail: String, text: String) {
    #expect(Advice.withoutHTTP(detail) == text)
  }

  @Test(
    arguments: [
      ("/memory_mib", "--memory"), ("/vcpus", "--vcpus"), ("/ready/min", "--ready"), ("/max_vms", "--max-vms"),
      ("/flat/code", "--flat"), ("/flat/load_address", "--load-address"), ("/ttl_ms", "--ttl"),
      ("/environment", "--env"),
      ("/refill/concurrency", "--refill-concurrency"), ("/block/disk", "--block"), ("/modules/0/blob", "--module"),
      ("/status", nil), ("", nil),
    ] as [(String, String?)])
  func namesTheOption(pointer: String, option: String?) {
    #expect(Advice.option(of: pointer) == option)
    let problem = Problem(type: "t", title: "t", status: 400, detail: "It is wrong.", pointer: pointer)
    #expect(Advice.text(.problem(problem)) == (option.map { $0 + ": " } ?? "") + "It is wrong.")
  }

  @Test(arguments: [
    ("/ttl_ms", "ttl_ms is 360000000; give 1 to 86400000.", "--ttl is 100h; give 1ms to 24h."),
    ("/wait_ms", "wait_ms is 900000; give 0 to 600000.", "--wait is 15m; give 0s to 10m."),
    ("/deadline_ms", "deadline_ms is 0; give 1 to 86400000.", "--deadline is 0s; give 1ms to 24h."),
    ("/ready_when/after_ms", "ready_when.after_ms is 0; give 1 to 600000.", "--ready-when is 0s; give 1ms to 10m."),
    ("/timeout_ms", "timeout_ms is 0; give 1 to 60000.", "--timeout-ms is 0; give 1 to 60000."),
    ("/memory_mib", "memory_mib is 65537; give 1 to 65536.", "--memory is 65537; give 1 to 65536."),
    ("/refill/concurrency", "refill.concurrency is 0; give 1 to 64.", "--refill-concurrency is 0; give 1 to 64."),
    (
      "/ready", "ready.min is 3, above ready.max, which is 2.",
      "the minimum of --ready is 3, above the maximum of --ready, which is 2."
    ),
    (
      "/max_vms", "max_vms is 1, below ready.max, which is 2.",
      "--max-vms is 1, below the maximum of --ready, which is 2."
    ),
    ("/vcpus", "/vcpus must be an integer, not a string.", "--vcpus must be an integer, not a string."),
    ("/image", "There is no image x.", "--image: There is no image x."),
  ])
  func speaksOfOptionsAndNotOfMembers(pointer: String, detail: String, text: String) {
    let problem = Problem(type: "t", title: "t", status: 400, detail: detail, pointer: pointer)
    #expect(Advice.text(.problem(problem)) == text)
    #expect(Advice.text(DocumentMistake(pointer: pointer, description: detail)) == text)
  }

  @Test(
    arguments: [
      (
        "/image", "There is no image x; GET /v1/images lists them.",
        "image: There is no image x; `vmpool images` lists them."
      ),
      ("/max_vms", "max_vms is 1, below ready.max, which is 2.", "max_vms is 1, below ready.max, which is 2."),
      ("/refill/concurrency", "It is wrong.", "refill.concurrency: It is wrong."),
      ("/vcpus", "/vcpus must be an integer.", "vcpus must be an integer."), (nil, "It is full.", "It is full."),
    ] as [(String?, String, String)])
  func namesThePoolOfAFile(pointer: String?, detail: String, text: String) {
    let problem = Problem(type: "t", title: "t", status: 400, detail: detail, pointer: pointer)
    let failure = Advice.refusal(problem, ofPool: "a1")
    #expect(failure.message == "pool a1: " + text)
    #expect(failure.status == ExitCode(1))
  }

  @Test func namesThePoolOnce() {
    let problem = Problem(type: "t", title: "t", status: 412, detail: "The pool a1 was changed.", pointer: nil)
    #expect(Advice.refusal(problem, ofPool: "a1").message == "The pool a1 was changed.")
  }

  @Test func callsTheWordsOfABootWordsAndNoOption() throws {
    let problem = Problem(type: "t", title: "t", status: 400, detail: "It is wrong.", pointer: "/command_line")
    for (more, source) in [
      (["a"], "the words after the kernel"), (["--append", "a"], "--append"),
      (["--command-line", "a"], "--command-line"),
    ] {
      let command = try #require(VMPoolCommand.parseAsRoot(["boot", "kernel"] + more) as? BootCommand)
      #expect(command.advice(.problem(problem)) == "\(source): It is wrong.")
    }
  }

  @Test func saysWhatAnswersInThePlaceOfAServer() {
    let text = Advice.text(.foreign(endpoint: "http://h:1", answer: "it does not speak HTTP"))
    #expect(text.contains("http://h:1 is no vmpool server: it does not speak HTTP") && text.contains("--server"))
  }

  @Test(arguments: [
    ("shw", "show"), ("lst", "list"), ("sotp", "stop"), ("pusch", "push"), ("inspekt", "inspect"), ("stoop", "stop"),
  ])
  func findsWhatWasMeant(word: String, command: String) {
    let words = ["show", "list", "stop", "start", "push", "pull", "inspect", "rm"]
    #expect(nearest(to: word, in: words) == command)
  }

  @Test(arguments: ["frobnicate", "x", "abcd"]) func suggestsNothingFarFetched(word: String) {
    #expect(nearest(to: word, in: ["show", "list", "stop", "inspect"]) == nil)
  }

  @Test func measuresDistances() {
    for (a, b, distance) in [
      ("", "", 0), ("", "abc", 3), ("abc", "abc", 0), ("abc", "acb", 1), ("kitten", "sitting", 3),
    ] {
      #expect(editDistance(a, b) == distance)
      #expect(editDistance(b, a) == distance)
    }
  }

  private static let superfluous = "Error: Unexpected argument 'x'\nUsage: vmpool"

  @Test(
    arguments: [
      (["stop", "vm-1"], "`vmpool vms stop`"), (["vms", "stp"], "`vmpool vms stop`"),
      (["pools", "lst"], "`vmpool pools list`"), (["vm", "ls"], "`vmpool vms`"),
      (["vms", "delte"], "`vmpool vms delete`"), (["am"], "`vmpool --help` lists"),
      (["--server", "h:1", "imags"], "`vmpool images`"), (["lease", "ls"], nil),
      (["frobnicate"], "`vmpool --help` lists"),
      (["images", "frobnicate"], "`vmpool images --help` lists"),
    ] as [([String], String?)])
  func explainsUnknownCommands(arguments: [String], hint: String?) {
    let text = UsageHints.explain(Self.superfluous, arguments: arguments)
    if let hint {
      #expect(text.contains("There is no command") && text.contains(hint), "\(text)")
    } else {
      #expect(text == Self.superfluous)
    }
  }

  @Test func knowsHelpForWhatIsNoCommand() {
    #expect(UsageHints.mistake(in: ["help", "nope"])?.hasPrefix("There is no command nope.") == true)
    #expect(UsageHints.mistake(in: ["help", "vms", "lst"])?.contains("`vmpool vms list`") == true)
    for words in [["help"], ["help", "help"], ["help", "vms", "list"], ["nope"]] {
      #expect(UsageHints.mistake(in: words) == nil, "\(words)")
    }
  }

  @Test func explainsValuesThatBeginWithADash() {
    let error = "Error: Missing value for '--command-line <text>'\nUsage: vmpool"
    let text = UsageHints.explain(error, arguments: ["run", "p", "--command-line", "-x"])
    #expect(
      text.contains("--command-line=-VALUE") && text.hasPrefix(error.prefix(20)) && text.hasSuffix("Usage: vmpool"))
    #expect(UsageHints.explain(error, arguments: ["run", "p", "--command-line"]) == error)
  }
}
