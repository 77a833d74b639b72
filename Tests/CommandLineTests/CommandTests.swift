import APIClient
import APIModel
import ArgumentParser
import Testing

@testable import vmpool

@Suite struct CommandTests {
  @Test(arguments: [
    ["vms"], ["vms", "list", "--pool", "demo", "--state", "paused", "--json"], ["pools", "--json"],
    ["--server", "unix:/run/x", "vms", "show", "vm-1"], ["vms", "--server", "h:1", "list"],
    ["pools", "set", "p", "--image", "spin", "--ready", "3", "--vcpus", "2", "--memory", "64"],
    ["vms", "create", "--image", "spin", "--no-start", "--deadline", "1500ms"],
    ["vms", "create", "--flat", "f", "--mode", "long64_ring3", "--load-address", "0x1000", "--entry", "0x1004"],
    ["vms", "delete", "a", "b"], ["kick", "vm-1", "--all"], ["kick", "vm-1", "--vcpu", "0", "--timeout-ms", "5"],
    ["registers", "vm-1", "--vcpu", "1"], ["console", "vm-1", "--from-now"], ["metrics", "--vcpus"],
    ["events"], ["events", "--pool", "demo", "--vm", "vm-1", "--json", "--since", "a-1"],
    ["images", "show", "spin"], ["blobs"], ["blobs", "prune", "--yes", "--partial"], ["blobs", "rm", "ab12"],
    ["host", "--timeout", "3"], ["host", "--timeout", "1h"],
    ["vms", "show", "vm-1", "--wait-for", "stopped", "--timeout", "30s"],
    ["lease", "p"], ["lease", "p", "--ttl", "5m", "--wait", "2s", "--no-start", "--label", "a=b", "--label", "c="],
    ["leases"], ["leases", "--pool", "p", "--json"], ["leases", "show", "lease-1"],
    ["extend", "lease-1", "--ttl", "90"],
    ["release", "lease-1", "lease-2"], ["run", "p", "--input", "-", "--deadline", "250ms", "--wait", "0", "--json"],
    ["pools", "set", "p", "--image", "spin", "--ready", "1:3", "--max-vms", "9", "--deadline", "1m", "--paused"],
    ["pools", "patch", "p", "--no-paused"], ["pools", "patch", "p", "--max-vms", "none", "--deadline", "none"],
    ["pools", "patch", "p", "--probe-interval", "500ms"],
    ["pools", "patch", "p", "--refill-concurrency", "2", "--ready", "4", "--image", "echo"],
    ["pools", "apply", "-f", "x.yaml", "--prune", "--dry-run", "--yes"], ["pools", "apply", "--file", "-", "--json"],
    ["pools", "delete", "p", "--force"], ["pools", "rm", "p", "-f"], ["pools", "get", "p", "--yaml"],
    ["pools", "set", "p", "-f", "p.json"], ["pools", "edit", "p"],
    ["ps"], ["ls", "-q"], ["ps", "-a"], ["ps", "--watch", "--interval", "1s"], ["rm", "5f0", "vm-1"],
    ["vms", "rm", "x"],
    ["logs", "-f", "vm-1"], ["logs", "--tail", "5", "x"], ["top", "--pool", "p", "-n", "2"], ["inspect", "x", "y"],
    ["inspect", "x", "--type", "pool"], ["ps", "--format", "{{.id}} {{.state}}"], ["ps", "--format", "json"],
    ["--context", "lab", "ps"], ["run", "p", "--reset-ok", "--append", "quiet"],
    ["vms", "create", "--image", "i", "-q"],
    ["boot", "k"], ["boot", "k", "--initramfs", "r", "--memory", "64", "a=b", "quiet", "--vcpus", "2", "--", "-x"],
    ["boot", "-", "--module", "m=m a=b", "--module", "n", "--block", "d=f", "--deadline", "5s", "--reset-ok"],
  ])
  func understands(arguments: [String]) throws {
    let command = try VMPoolCommand.parseAsRoot(arguments)
    #expect(command is any ServerCommand)
  }

  @Test(arguments: [
    ["vms", "create"], ["vms", "create", "--image", "a", "--flat", "f", "--mode", "real16"],
    ["vms", "create", "--flat", "f"], ["vms", "create", "--image", "a", "--mode", "real16"],
    ["vms", "create", "--image", "a", "--entry", "0x1"], ["vms", "create", "--flat", "f", "--mode", "real32"],
    ["vms", "list", "--state", "lost"], ["kick", "vm-1", "--all", "--vcpu", "0"], ["kick"], ["vms", "start"],
    ["pools", "set", "p", "--image", "spin"], ["host", "--server", "ftp://x"], ["host", "--timeout", "0"],
    ["nonsense"], ["host", "--timeout", "61m"], ["vms", "show", "vm-1", "--wait-for", "stopped", "--timeout", "11m"],
    ["vms", "show", "vm-1", "--wait-for", "gone"], ["lease"], ["lease", "p", "--ttl", "soon"],
    ["lease", "p", "--label", "a=1", "--label", "a=2"], ["lease", "p", "--label", "=b"], ["release"], ["run"],
    ["leases", "show"], ["ps", "--format", "{{id}}"], ["ps", "--json", "--format", "table"],
    ["ps", "-a", "--state", "ready"],
    ["run", "p", "--append", "a", "--command-line", "b"], ["--context", "a", "--server", "h:1", "ps"], ["inspect"],
    ["pools", "set", "p", "--file", "x", "--vcpus", "1"], ["images", "push", "a/k.elf", "b/k.elf"],
    ["images", "push", "-"],
    ["images", "push", "-", "--name", "a", "--initramfs", "-"], ["ps", "--interval", "1ms"], ["top", "-n", "0"],
    ["run", "p", "--deadline", "-1s"], ["pools", "patch", "p"],
    ["pools", "patch", "p", "--ready", "none"], ["pools", "set", "p", "--image", "spin", "--ready", "3:1"],
    ["pools", "apply"], ["boot"], ["boot", "k", "quiet", "--append", "x"], ["boot", "k", "a", "--command-line", "b"],
    ["boot", "-", "--initramfs", "-"], ["boot", "k", "--module", "=text"], ["boot", "k", "--block", "x"],
    ["boot", "k", "-x"], ["images", "push", "a", "b", "--module", "m"],
  ])
  func refuses(arguments: [String]) {
    #expect {
      try VMPoolCommand.parseAsRoot(arguments)
    } throws: {
      VMPoolCommand.exitCode(for: $0).rawValue == 64
    }
  }

  @Test func takesTheServerFromBeforeTheSubcommand() throws {
    for arguments in [["--server", "h:1", "vms"], ["vms", "--server", "h:1"], ["vms", "list", "--server", "h:1"]] {
      let command = try #require(VMPoolCommand.parseAsRoot(arguments) as? VMsCommand.List)
      #expect(command.server.server == "h:1")
    }
  }

  @Test func mapsErrorsToExitStatuses() {
    func problem(_ status: Int) -> APIError { .problem(Problem(type: "t", title: "t", status: status, detail: "d")) }
    #expect(problem(404).exitCode.rawValue == 2)
    #expect(problem(410).exitCode.rawValue == 2)
    #expect(problem(429).exitCode.rawValue == 75)
    #expect(problem(400).exitCode.rawValue == 1)
    #expect(problem(503).exitCode.rawValue == 1)
    #expect(APIError.unreachable(endpoint: "e", reason: "r").exitCode.rawValue == 69)
    #expect(APIError.protocolViolation("p").exitCode.rawValue == 76)
    #expect(APIError.foreign(endpoint: "e", answer: "a").exitCode.rawValue == 76)
  }

  @Test(
    arguments: [
      ("exited", 0, 0), ("exited", 7, 7), ("exited", 258, 2), ("halted", nil, 0),
      ("powered_off", nil, 0), ("reset", nil, 123), ("deadline", nil, 124),
      ("crashed", nil, 125), ("killed", nil, 137), (nil, nil, 137),
    ] as [(String?, Int?, Int32)])
  func endsAsTheGuestEnds(outcome: String?, code: Int?, status: Int32) {
    #expect(GuestOutcome.exitCode(outcome, code).rawValue == status)
  }

  @Test func readsModules() throws {
    let words = ["boot", "k", "--module", "m", "--module", "m=", "--module", "a b=c d=e"]
    let command = try #require(VMPoolCommand.parseAsRoot(words) as? BootCommand)
    #expect(command.image.modules.map(\.path) == ["m", "m", "a b"])
    #expect(command.image.modules.map(\.text) == [nil, "", "c d=e"])
  }

  @Test func tellsOptionsThatAreGivenTwice() {
    for (words, option) in [
      (["images", "push", "k", "--initramfs", "a", "--initramfs", "b"], "--initramfs"),
      (["boot", "k", "--append=a", "--append", "b"], "--append"),
      (["ps", "-q", "--pool", "a", "--pool", "a"], "--pool"),
      (["top", "-n", "1", "-n", "2"], "-n"),
    ] {
      #expect(UsageHints.repetition(in: words) == "\(option) is given twice; give it once.")
    }
    for words in [
      ["boot", "k", "--module", "a", "--module", "b", "--block", "a=b", "--block", "b=c"],
      ["boot", "k", "--", "-x", "-x"],
      ["lease", "p", "--label", "a=b", "--label", "b=c", "--env", "A=1", "--env", "B=1"], ["images", "push", "-", "-"],
      ["bench", "kick", "--guest", "pio", "--guest", "spin"], [],
    ] {
      #expect(UsageHints.repetition(in: words) == nil)
    }
  }

  @Test func canTakeAResetForSuccess() throws {
    let command = try #require(VMPoolCommand.parseAsRoot(["run", "p", "--reset-ok"]) as? RunCommand)
    #expect(command.exitCode("reset", nil).rawValue == 0)
    #expect(command.exitCode("crashed", nil).rawValue == 125)
  }
}
