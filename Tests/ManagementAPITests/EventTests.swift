import APIModel
import Foundation
import HTTPServer
import JSONCodec
import Synchronization
import Testing

@testable import ManagementAPI

@Suite struct EventTextTests {
  @Test(arguments: [
    nil, "", "plain", "a \"quote\" and a \\", "line\nbreak\r\ttab", "\u{1}\u{f}\u{10}\u{1f}\u{7f}", "ünïcode 🦀",
  ])
  func whatTheEncoderWrites(_ detail: String?) throws {
    let event = EventDocument(
      type: "vm.running", at: "2025-01-31T12:00:00.000Z", pool: "demo", vm: "vm-5f0c2a9b1e7d", detail: detail)
    let lines = String(decoding: EventText.event(event), as: UTF8.self).components(separatedBy: "\n")
    #expect(lines.count == 4 && lines[2...] == ["", ""])
    #expect(lines[0] == "event: vm")
    let data = try #require(lines[1].components(separatedBy: "data: ").last)
    #expect(try JSON.decode(EventDocument.self, from: Array(data.utf8)) == event)
    let members = data.matches(of: /"([a-z_]+)":/).map { String($0.1) }
    #expect(members == ["type", "at", "pool", "vm", "lease", "reason", "exit_code", "detail"])
    #expect(try JSON.decode(EventDocument.self, from: JSON.encode(event)) == event)
  }

  @Test func nulIsReplaced() throws {
    let text = EventText.event(EventDocument(type: "reset", at: "", detail: "a\0b"))
    #expect(String(decoding: text, as: UTF8.self).contains("\"a\u{FFFD}b\""))
  }

  @Test(arguments: [
    ("a-1", "a", 1), ("a-b-18446744073709551615", "a-b", UInt64.max), ("-0", "", 0),
  ])
  func positions(_ text: String, _ epoch: String, _ sequence: UInt64) {
    #expect(EventPosition(text) == EventPosition(epoch: epoch, sequence: sequence))
  }

  @Test(arguments: ["", "a", "a-", "1", "a-x", "a--1", "a-18446744073709551616", "a-1 "])
  func noPositions(_ text: String) { #expect(EventPosition(text) == nil || text == "a--1") }
}

@Suite struct EventHistoryTests {
  private static func history(_ count: Int, capacity: Int = 4) -> EventHistory {
    var history = EventHistory(capacity: capacity)
    for number in 0..<count { history.append(event(number + 1)) }
    return history
  }

  private static func event(_ number: Int) -> EventDocument {
    EventDocument(type: "test", at: "", pool: "p\((number - 1) % 2)", detail: "\(number)")
  }

  /// Published, kept, seen, and then: which ones come, or nil for a reset.
  @Test(arguments: [
    (0, 0, [] as [UInt64]?), (1, 0, [1]), (4, 0, [1, 2, 3, 4]), (5, 0, nil), (5, 1, [2, 3, 4, 5]), (5, 4, [5]),
    (5, 5, []), (100, 95, nil), (100, 96, [97, 98, 99, 100]),
  ])
  func excerpts(_ published: Int, _ seen: UInt64, _ expected: [UInt64]?) {
    let excerpt = Self.history(published).entries(after: seen)
    #expect(excerpt.isIncomplete == (expected == nil))
    if let expected { #expect(excerpt.entries.map(\.sequence) == expected) }
    #expect(excerpt.position.sequence == UInt64(published))
  }

  @Test func excerptsUpToOne() {
    let history = Self.history(10, capacity: 8)
    #expect(history.entries(after: 4, through: 6).entries.map(\.sequence) == [5, 6])
    #expect(history.entries(after: 6, through: 4).entries.isEmpty)
    #expect(!history.entries(after: 6, through: 4).isIncomplete)
    #expect(history.entries(after: 0, through: 1).isIncomplete)
    #expect(history.entries(after: 1, through: 4).isIncomplete)
  }

  @Test func openings() {
    let history = Self.history(6)
    let mark = "id: \(history.position(6))\n\n"
    func opening(_ id: String?, _ filter: EventFilter = EventFilter(), limit: Int? = nil) -> EventHistory.Opening {
      history.opening(after: id, filter, limit: limit)
    }
    func text(_ opening: EventHistory.Opening) -> String { String(decoding: opening.text, as: UTF8.self) }
    func event(_ number: UInt64) -> String {
      "id: \(history.position(number))\n" + String(decoding: EventText.event(Self.event(Int(number))), as: UTF8.self)
    }

    #expect(text(opening(nil)) == "retry: 1000\n\n\(mark)")
    #expect(text(opening("\(history.position(6))")) == "retry: 1000\n\n\(mark)")
    #expect(text(opening("\(history.position(4))")) == "retry: 1000\n\n\(event(5))\(event(6))\(mark)")
    #expect(text(opening("\(history.position(4))", EventFilter(pool: "p1"))) == "retry: 1000\n\n\(event(6))\(mark)")
    #expect(text(opening("\(history.position(4))", EventFilter(vm: "vm-0"))) == "retry: 1000\n\n\(mark)")
    let limited = opening("\(history.position(2))", limit: 3)
    #expect(text(limited) == "retry: 1000\n\n\(event(3))\(event(4))\(event(5))")
    #expect(limited.remaining == 0)
    #expect(opening("\(history.position(4))", limit: 3).remaining == 1)
    for id in ["\(history.position(1))", "\(history.position(7))", "000000000000-6", "nonsense", "-", "🦀"] {
      let reset = opening(id, limit: 5)
      #expect(
        text(reset).hasPrefix("retry: 1000\n\nid: \(history.position(6))\nevent: reset\ndata: {\"type\":\"reset\""))
      #expect(text(reset).hasSuffix("}\n\n\(mark)"))
      #expect(reset.remaining == 4 && reset.position.sequence == 6)
    }
  }

  @Test func everyRunHasAnEpochOfItsOwn() {
    let epochs = Set((0..<100).map { _ in EventHistory(capacity: 1).position(0).epoch })
    #expect(epochs.count == 100 && epochs.allSatisfy { $0.count == 12 && $0.allSatisfy(\.isHexDigit) })
  }
}

@Suite(.serialized) struct EventStreamTests {
  private func publish(_ server: EventServer, _ numbers: ClosedRange<Int>, pool: String = "demo") {
    for number in numbers { server.log.publish(.now("pool.changed", pool: pool, detail: "\(number)")) }
  }

  @Test func eventsArriveInOrder() throws {
    let server = try EventServer()
    let stream = try server.listen()
    #expect(stream.headers["Content-Type"] == "text/event-stream")
    #expect(stream.headers["Cache-Control"] == "no-store")
    #expect(stream.headers["X-Content-Type-Options"] == "nosniff")
    publish(server, 1...500)
    #expect(try stream.details(500) == (1...500).map { "\($0)" })
    publish(server, 501...501)
    #expect(try stream.details(1) == ["501"])
  }

  @Test func filters() throws {
    let server = try EventServer()
    let streams = try [
      server.listen("?pool=a"), server.listen("?vm=vm-000000000001"), server.listen("?pool=a&limit=1"),
    ]
    server.log.publish(.now("pool.changed", pool: "b", detail: "1"))
    server.log.publish(.now("vm.running", pool: "b", vm: "vm-000000000001", detail: "2"))
    server.log.publish(.now("vm.running", pool: "a", vm: "vm-000000000002", detail: "3"))
    server.log.publish(.now("vm.running", pool: "a", vm: "vm-000000000001", detail: "4"))
    #expect(try streams[0].details(2) == ["3", "4"])
    #expect(try streams[1].details(2) == ["2", "4"])
    #expect(try streams[2].detailsToTheEnd() == ["3"])
  }

  @Test(arguments: [false, true]) func resuming(_ byQuery: Bool) throws {
    let server = try EventServer(.init(history: 8))
    let stream = try server.listen()
    publish(server, 1...3)
    _ = try stream.details(3)
    let id = stream.lastID
    publish(server, 4...6)
    // They have gone out: the history is so short that what has yet to go out could fall out of it.
    _ = try stream.details(3)
    let header = byQuery ? "" : "Last-Event-ID: \(id)\r\n"
    let back = try server.listen(byQuery ? "?last_event_id=\(id)" : "?last_event_id=old-1", header)
    #expect(try back.details(3) == ["4", "5", "6"])
    publish(server, 7...12)
    #expect(try back.details(6) == (7...12).map { "\($0)" })
    let late = try server.listen("?last_event_id=\(id)")
    #expect(try late.next().type == "reset")
    publish(server, 13...13)
    #expect(try late.details(1) == ["13"])
    // Where the reset left off.
    #expect(try server.listen("?last_event_id=\(late.lastID)&timeout_ms=1").detailsToTheEnd().isEmpty)
  }

  /// Events that are sent to others between a subscriber's first bytes and its place in the list.
  @Test func nothingIsLostInBetween() throws {
    let server = try EventServer { log in
      if log.subscribers == 1 { return }
      log.publish(.now("pool.changed", detail: "between"))
      // Everything before this on the queue, the sending among it, is done.
      log.queue.sync {}
    }
    let first = try server.listen()
    let second = try server.listen()
    publish(server, 1...1)
    #expect(try second.details(2) == ["between", "1"])
    #expect(try first.details(2) == ["between", "1"])
  }

  /// Events that are in a subscriber's first bytes and have yet to be sent to others.
  @Test func nothingComesTwice() throws {
    let server = try EventServer()
    let first = try server.listen()
    let id = first.lastID
    server.log.queue.suspend()
    publish(server, 1...3)
    let second = try server.listen("?last_event_id=\(id)")
    server.log.queue.resume()
    publish(server, 4...4)
    #expect(try second.details(4) == ["1", "2", "3", "4"])
    #expect(try first.details(4) == ["1", "2", "3", "4"])
  }

  @Test func anotherRunOfTheServer() throws {
    let (first, second) = (try EventServer(), try EventServer())
    let id = try first.listen().lastID
    let stream = try second.listen("", "Last-Event-ID: \(id)\r\n")
    #expect(try stream.next().type == "reset")
  }

  @Test func heartbeatsTellHowFarEventsAre() throws {
    let server = try EventServer(.init(heartbeatMS: 20))
    let stream = try server.listen("?pool=quiet")
    let before = stream.lastID
    publish(server, 1...5)
    try stream.heartbeats(2)
    #expect(stream.lastID == before.dropLast() + "5")
  }

  @Test func streamsThatEndThemselves() throws {
    let server = try EventServer()
    #expect(try server.listen("?timeout_ms=1").detailsToTheEnd().isEmpty)
    let limited = try server.listen("?limit=3")
    publish(server, 1...5)
    #expect(try limited.detailsToTheEnd() == ["1", "2", "3"])
    let replayed = try server.listen("?limit=2&last_event_id=\(limited.lastID)")
    #expect(try replayed.detailsToTheEnd() == ["4", "5"])
    #expect(server.log.subscribers == 0)
  }

  @Test func seatsAreLimited() throws {
    let server = try EventServer(.init(subscribers: 2))
    let streams = try (0..<2).map { _ in try server.listen() }
    let refusal = try server.get("GET", "/v1/events")
    #expect(refusal.status == 503 && refusal.headers["Retry-After"] == "1")
    streams[0].leave()
    try server.wait { server.log.subscribers == 1 }
    #expect(try server.get("HEAD", "/v1/events").status == 200)
    #expect(server.log.subscribers == 1)
    _ = try server.listen()
    withExtendedLifetime(streams) {}
  }

  @Test(arguments: ["pool=Not", "vm=vm-1", "limit=0", "limit=x", "timeout_ms=0", "types=vm", "pool=a&pool=b"])
  func badParameters(_ query: String) {
    let harness = Harness(factory: StubFactory())
    let reply = harness.send("GET", "/v1/events?\(query)")
    #expect(reply.status == 400 && reply.problem?.kind == "invalid-parameter")
    #expect(harness.send("GET", "/v1/events?timeout_ms=1").status == 200)
  }

  /// Subscribers come and go while events are published; nobody sees one twice, out of order, or misses one.
  @Test func thousandsOfRounds() throws {
    let server = try EventServer(.init(history: 100_000))
    let stops = Atomic(false)
    let group = DispatchGroup()
    DispatchQueue.global().async(group: group) { [log = server.log] in
      var number = 0
      while !stops.load(ordering: .relaxed) {
        number += 1
        log.publish(.now("pool.changed", detail: "\(number)"))
        usleep(50)
      }
    }
    for round in 0..<2000 {
      let stream = try server.listen()
      let numbers = try stream.details(3).map { try #require(Int($0)) }
      #expect(numbers == Array(numbers[0]..<(numbers[0] + 3)), "round \(round)")
      if round % 2 == 0 { stream.leave() }
    }
    stops.store(true, ordering: .relaxed)
    group.wait()
    try server.wait { server.log.subscribers == 0 }
  }

  @Test func stopEndsStreams() throws {
    let server = try EventServer()
    let streams = try (0..<8).map { _ in try server.listen() }
    publish(server, 1...1)
    for stream in streams { #expect(try stream.details(1) == ["1"]) }
    server.service.stop()
    for stream in streams { #expect(try stream.detailsToTheEnd().isEmpty) }
    // Whoever has just sent them something may hold them for a moment longer.
    try server.wait { server.log.subscribers == 0 }
  }
}
