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
    ["vms", "create", "--image", "spin", "--no-start", "--deadline", "1000"],
    ["vms", "create", "--flat", "f", "--mode", "long64_ring3", "--load-address", "0x1000", "--entry", "0x1004"],
    ["vms", "delete", "a", "b"], ["kick", "vm-1", "--all"], ["kick", "vm-1", "--vcpu", "0", "--timeout-ms", "5"],
    ["registers", "vm-1", "--vcpu", "1"], ["console", "vm-1", "--from-now"], ["metrics", "--vcpus"],
    ["events"], ["events", "--pool", "demo", "--vm", "vm-1", "--json", "--since", "a-1"], ["images", "spin"],
    ["host", "--timeout", "3"],
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
    ["pools", "set", "p", "--image", "spin"], ["host", "--server", "https://x"], ["host", "--timeout", "0"],
    ["nonsense"],
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
    #expect(problem(400).exitCode.rawValue == 1)
    #expect(problem(503).exitCode.rawValue == 1)
    #expect(APIError.unreachable(endpoint: "e", reason: "r").exitCode.rawValue == 69)
    #expect(APIError.protocolViolation("p").exitCode.rawValue == 76)
  }

  @Test(
    arguments: [
      (StopDocument(reason: "exited", exitCode: 0, detail: nil), 0),
      (StopDocument(reason: "exited", exitCode: 7, detail: nil), 7),
      (StopDocument(reason: "exited", exitCode: 258, detail: nil), 2),
      (StopDocument(reason: "halted", exitCode: nil, detail: nil), 0),
      (StopDocument(reason: "crashed", exitCode: nil, detail: "triple fault"), 1),
      (StopDocument(reason: "killed", exitCode: nil, detail: nil), 1),
      (nil, 1),
    ] as [(StopDocument?, Int32)])
  func endsAConsoleAsTheGuestEnds(stop: StopDocument?, status: Int32) {
    #expect(ConsoleCommand.exitCode(stop).rawValue == status)
  }
}
