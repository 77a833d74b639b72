import APIClient
import APIModel
import CommandLineSupport
import Testing

@testable import vmpool

@Suite struct EventsCommandTests {
  @Test func lines() {
    let full = EventDocument(
      type: "lease.granted", at: "2025-01-31T12:00:00.000Z", pool: "p", vm: "vm-1", lease: "l", detail: "for ci\n")
    #expect(
      EventsCommand.line(full)
        == "2025-01-31T12:00:00.000Z lease.granted pool=p vm=vm-1 lease=l \(printable("for ci\n"))\n")
    #expect(EventsCommand.line(EventDocument(type: "reset", at: "t")) == "t reset\n")
    let stopped = EventDocument(type: "vm.stopped", at: "t", vm: "v", reason: "exited", exitCode: 3)
    #expect(EventsCommand.line(stopped) == "t vm.stopped vm=v reason=exited exit_code=3\n")
  }

  @Test(arguments: [("e-1", "e-1"), ("a\"b\n", "ab"), ("", "")])
  func json(_ id: String, _ printed: String) {
    let raw = ServerSentEvent(id: id, name: "vm", data: #"{"type":"vm.ready","at":"t"}"#)
    #expect(EventsCommand.json(raw) == #"{"id":"\#(printed)","type":"vm.ready","at":"t"}"# + "\n")
  }

  @Test func backsOff() {
    var backoff = Backoff()
    func next(_ hasBegun: Bool, _ first: Duration = .seconds(1)) -> Duration {
      backoff.next(hasBegun: hasBegun, from: first)
    }
    #expect(
      [next(true), next(false), next(false), next(false)] == [.seconds(1), .seconds(2), .seconds(4), .seconds(8)])
    for _ in 0..<100 { #expect(next(false) <= .seconds(30)) }
    #expect(next(true) == .seconds(1))
    #expect(next(true, .zero) == .milliseconds(100))
  }

  @Test func whatMayPass() {
    func problem(_ status: Int) -> APIError { .problem(Problem(type: "t", title: "t", status: status, detail: "d")) }
    #expect(EventsCommand.mayPass(problem(503)))
    #expect(!EventsCommand.mayPass(problem(400)))
    #expect(EventsCommand.mayPass(.unreachable(endpoint: "e", reason: "r")))
    #expect(!EventsCommand.mayPass(.protocolViolation("p")))
  }
}
