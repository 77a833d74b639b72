import APIModel
import Testing

@testable import APIClient

@Suite struct EventStreamParserTests {
  struct Case: Sendable, CustomTestStringConvertible {
    var text: String
    var events: [ServerSentEvent]
    var lastEventID = ""
    var retryMS: Int?
    var testDescription: String { text.debugDescription }
  }

  private static func event(_ data: String, _ name: String = "message", id: String = "") -> ServerSentEvent {
    ServerSentEvent(id: id, name: name, data: data)
  }

  static let cases: [Case] = [
    Case(text: "", events: []),
    Case(text: "\n\n\n", events: []),
    Case(text: "data: a\n\n", events: [event("a")]),
    Case(text: "data:a\n\ndata: b\n\n", events: [event("a"), event("b")]),
    Case(text: "data:  a \n\n", events: [event(" a ")]),
    Case(text: "data: a\ndata: b\ndata\ndata:\n\n", events: [event("a\nb\n\n")]),
    Case(text: "data\n\n", events: [event("")]),
    Case(text: "data: a\r\n\r\ndata: b\r\rdata: c\n\n", events: [event("a"), event("b"), event("c")]),
    Case(text: "data: a\r\ndata: b\r\n\r\n", events: [event("a\nb")]),
    Case(text: "data: a", events: []),
    Case(text: "data: a\n", events: []),
    Case(text: "\u{FEFF}data: a\n\n", events: [event("a")]),
    Case(text: "\u{FEFF}\u{FEFF}data: a\n\n", events: []),
    Case(text: "data: a\n\n\u{FEFF}data: b\n\n", events: [event("a")]),
    Case(text: "event: vm\ndata: a\n\ndata: b\n\n", events: [event("a", "vm"), event("b")]),
    Case(text: "event: vm\n\ndata: b\n\n", events: [event("b")]),
    Case(text: "event: x\nevent: vm\ndata: a\n\n", events: [event("a", "vm")]),
    Case(text: "id: 1\ndata: a\n\ndata: b\n\n", events: [event("a", id: "1"), event("b", id: "1")], lastEventID: "1"),
    Case(text: "id: 1\n\n", events: [], lastEventID: "1"),
    Case(text: "id: 1\n", events: []),
    Case(text: "id: 1\n\nid\ndata: a\n\n", events: [event("a")]),
    Case(text: "id: 1\n\nid: a\0b\n\n", events: [], lastEventID: "1"),
    Case(text: "retry: 1000\n\n", events: [], retryMS: 1000),
    Case(text: "retry: 1000\nretry: -1\nretry: x\nretry:\nretry: 99999999999999999999\n", events: [], retryMS: 1000),
    Case(text: ": comment\n:\n:data: x\n\n", events: []),
    Case(text: "Data: a\n data: b\nunknown: c\n\n", events: []),
    Case(text: "data: é🦀\n\n", events: [event("é🦀")]),
  ]

  /// Whatever the boundaries of the pieces: the parser keeps everything between two bytes.
  @Test(arguments: cases) func events(_ example: Case) {
    var parser = EventStreamParser()
    #expect(example.text.utf8.compactMap { parser.take($0) } == example.events)
    #expect(parser.lastEventID == example.lastEventID)
    #expect(parser.retryMS == example.retryMS)
  }

  @Test func invalidUTF8IsReplaced() {
    var parser = EventStreamParser()
    let bytes = Array("data: a".utf8) + [0xFF] + Array("b\n\n".utf8)
    #expect(bytes.compactMap { parser.take($0) } == [Self.event("a\u{FFFD}b")])
  }

  @Test func idsOutliveTheConnection() {
    var parser = EventStreamParser(lastEventID: "7")
    #expect("data: a\n\n".utf8.compactMap { parser.take($0) } == [Self.event("a", id: "7")])
    #expect(parser.lastEventID == "7")
  }

  @Test func sizesAreBounded() {
    var line = EventStreamParser()
    for _ in 0...(1 << 20) { _ = line.take(0x61) }
    #expect(line.isTooLarge)
    var event = EventStreamParser()
    for _ in 0..<1025 { for byte in "data: \(String(repeating: "a", count: 1024))\n".utf8 { _ = event.take(byte) } }
    #expect(event.isTooLarge)
  }
}

@Suite struct EventStreamTests {
  private static func data(_ detail: String) -> String {
    #"data: {"type":"vm.running","at":"t","pool":"p","vm":null,"lease":null,"detail":"\#(detail)","more":1}"#
  }

  /// A stream as the server sends it, in chunks of the given size.
  private static func stream(_ text: String, chunk size: Int = 7, isComplete: Bool = true) -> ScriptedServer.Answer {
    var bytes = Array("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n".utf8)
    let all = Array(text.utf8)
    for start in stride(from: 0, to: all.count, by: size) {
      let piece = all[start..<min(start + size, all.count)]
      bytes += Array("\(String(piece.count, radix: 16))\r\n".utf8) + piece + Array("\r\n".utf8)
    }
    return isComplete ? .bytes(bytes + Array("0\r\n\r\n".utf8)) : .lastBytes(bytes)
  }

  private static let text =
    "retry: 250\n\n: hello\nid: e-1\n\n" + "id: e-2\nevent: vm\n\(data("a"))\n\n"
    + "id: e-3\nevent: vm\n\(data("b"))\n\n" + ":\nid: e-9\n\n"

  @Test(arguments: [1, 2, 3, 7, 1000]) func eventsUntilTheEnd(_ chunk: Int) throws {
    try withServer([Self.stream(Self.text, chunk: chunk), .http(200, "next")]) { client, server throws in
      var position = EventCursor(lastEventID: "e-0")
      var seen: [String] = []
      try client.events(from: &position, pool: "p", vm: "vm-1") { event, raw in
        seen.append("\(raw.id) \(raw.name) \(event.type) \(event.detail ?? "")")
        return true
      }
      #expect(seen == ["e-2 vm vm.running a", "e-3 vm vm.running b"])
      #expect(position.lastEventID == "e-9" && position.retry == .milliseconds(250) && position.hasBegun)
      #expect(server.requests[0].line == "GET /v1/events?pool=p&vm=vm-1 HTTP/1.1")
      #expect(server.requests[0].header("Last-Event-ID") == "e-0")
      #expect(server.requests[0].header("Accept") == "text/event-stream")
      // The connection is as good as ever, and so are timeouts.
      #expect(try client.send("GET", to: "/").body == Array("next".utf8))
      #expect(server.connections == 1)
    }
  }

  @Test func enoughIsEnough() throws {
    try withServer([Self.stream(Self.text), .http(200, "next")]) { client, server throws in
      var position = EventCursor()
      var count = 0
      try client.events(from: &position) { _, _ in
        count += 1
        return false
      }
      #expect(count == 1 && position.lastEventID == "e-2")
      #expect(server.requests[0].header("Last-Event-ID") == nil)
      #expect(try client.send("GET", to: "/").body == Array("next".utf8))
    }
  }

  @Test func brokenConnectionsLeaveThePosition() throws {
    try withServer([Self.stream(Self.text + "id: e-10\ndata: {", isComplete: false)]) { client, _ throws in
      var position = EventCursor()
      var count = 0
      #expect {
        try client.events(from: &position) { _, _ in
          count += 1
          return true
        }
      } throws: {
        if case APIError.unreachable = $0 { true } else { false }
      }
      #expect(count == 2 && position.lastEventID == "e-9" && position.hasBegun)
    }
  }

  @Test func refusals() throws {
    let problem = #"{"type":"/problems/resources-exhausted","title":"t","status":503,"detail":"Full."}"#
    try withServer([.http(503, type: "application/problem+json", problem)]) { client, _ throws in
      var position = EventCursor(lastEventID: "e-1")
      #expect {
        try client.events(from: &position) { _, _ in true }
      } throws: {
        if case APIError.problem(let problem) = $0 { problem.status == 503 } else { false }
      }
      #expect(position == EventCursor(lastEventID: "e-1"))
    }
  }

  @Test(arguments: [
    ScriptedServer.Answer.http(200, type: "text/html", "data: {}\n\n"), stream("data: nonsense\n\n"),
    stream("data: {}\n\n"), .http(404, type: "text/html", "no"),
  ])
  func otherServers(_ answer: ScriptedServer.Answer) throws {
    try withServer([answer]) { client, _ throws in
      var position = EventCursor()
      #expect {
        try client.events(from: &position) { _, _ in true }
      } throws: {
        switch $0 {
        case APIError.foreign, APIError.protocolViolation: true
        default: false
        }
      }
    }
  }
}
