import APIModel
import Foundation
import HTTPServer
import JSONCodec
import Synchronization
import Testing

@testable import Control
@testable import ManagementAPI

@Suite struct EventTextTests {
  @Test(arguments: [
    nil, "", "plain", "a \"quote\" and a \\", "line\nbreak\r\ttab", "\u{1}\u{f}\u{10}\u{1f}\u{7f}", "ünïcode 🦀",
  ])
  func whatTheEncoderWrites(_ detail: String?) throws {
    let event = EventDocument(
      type: "vm.running", at: "2025-01-31T12:00:00.000Z", pool: "demo", vm: "vm-5f0c2a9b1e7d4a60", detail: detail)
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

  @Test(arguments: [nil, 1, 0]) func openings(remaining: Int?) {
    let position = EventPosition(epoch: "e", sequence: 2)
    let event = EventDocument(type: "vm.running", at: "")
    let opening = EventOpening(
      events: [PlacedEvent(position: position, event: event)], position: EventPosition(epoch: "e", sequence: 3),
      remaining: remaining)
    let text = String(decoding: EventText.opening(opening), as: UTF8.self)
    let events = "id: e-2\n" + String(decoding: EventText.event(event), as: UTF8.self)
    #expect(text == "retry: 1000\n\n\(events)" + (remaining == 0 ? "" : "id: e-3\n\n"))
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
      server.listen("?pool=a"), server.listen("?vm=vm-0000000000014a60"), server.listen("?pool=a&limit=1"),
    ]
    server.log.publish(.now("pool.changed", pool: "b", detail: "1"))
    server.log.publish(.now("vm.running", pool: "b", vm: "vm-0000000000014a60", detail: "2"))
    server.log.publish(.now("vm.running", pool: "a", vm: "vm-0000000000024a60", detail: "3"))
    server.log.publish(.now("vm.running", pool: "a", vm: "vm-0000000000014a60", detail: "4"))
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
      try? log.waitUntilSent()
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
    let hold = DispatchSemaphore(value: 0)
    try server.log.sender.submit { hold.wait() }
    defer { hold.signal() }
    publish(server, 1...3)
    let second = try server.listen("?last_event_id=\(id)")
    hold.signal()
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
    // The thread that sent the end may hold the subscription for a moment longer.
    try server.wait { server.log.subscribers == 0 }
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
    defer { stops.store(true, ordering: .relaxed) }
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

extension EventLog {
  /// Returns when everything before this in the sender's queue is done.
  fileprivate func waitUntilSent() throws {
    let done = DispatchSemaphore(value: 0)
    try sender.submit { done.signal() }
    done.wait()
  }
}
