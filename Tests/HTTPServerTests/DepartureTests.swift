import Glibc
import Synchronization
import TestSupport
import Testing

@testable import HTTPServer

private func watched(_ name: String) -> String { "GET /watched/\(name) HTTP/1.1\r\nHost: a\r\n\r\n" }
private let plain = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

/// The ways in which a client leaves.
enum Leaving: CaseIterable {
  case close, halfClose, reset

  func callAsFunction(_ client: RawClient) {
    switch self {
    case .close: client.close()
    case .halfClose: client.endSending()
    case .reset: client.reset()
    }
  }
}

extension HTTPServerTests {
  @Suite struct Departures {
    @Test(arguments: Leaving.allCases, [false, true])
    func leavingEndsTheRequest(_ leave: Leaving, _ isUnix: Bool) throws {
      let directory = try ScratchDirectory()
      let server =
        isUnix ? try TestServer([.unix(path: "\(directory.path)/s")]) : try TestServer()
      let client = try server.client()
      try client.send(watched("a"))
      let responder = try server.handler.responders(1)[0]
      leave(client)
      #expect(try server.handler.left(1) == ["a"])
      let record = try server.handler.records(1)[0]
      #expect(record.aborted)
      #expect(record.status == 0)
      #expect(!responder.complete(TestHandler.text("nobody")))
      #expect(server.server.watchedConnections == 0)
      if leave == .halfClose { #expect(try client.rest().isEmpty) }
      #expect(try server.client().exchange(plain).status == 200)
    }

    /// The client is gone when the watch begins: the connection is suspended after it left.
    @Test(arguments: [Leaving.close, .halfClose]) func oneThatHasLeftAlreadyIsSeen(_ leave: Leaving) throws {
      let server = try TestServer()
      for round in 1...20 {
        let client = try server.client()
        try client.send(watched("a"))
        leave(client)
        #expect(try server.handler.records(round).count == round)
      }
      #expect(server.server.watchedConnections == 0)
    }

    @Test func anAnswerIsToldOnceWhatBecameOfIt() throws {
      let server = try TestServer()
      let client = try server.client()
      #expect(try client.exchange("GET /told HTTP/1.1\r\nHost: a\r\n\r\n").status == 200)
      #expect(try server.handler.left(1) == ["delivered"])
      #expect(try client.exchange("HEAD /told HTTP/1.1\r\nHost: a\r\n\r\n").status == 200)
      #expect(try server.handler.left(2).last == "delivered")
      #expect(try client.exchange("GET /told/unfit HTTP/1.1\r\nHost: a\r\n\r\n").status == 500)
      #expect(try server.handler.left(3).last == "undelivered")
      let other = try server.client()
      try other.send("GET /told/big HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(try other.responseHead().status == 200)
      other.reset()
      #expect(try server.handler.left(4).last == "undelivered")
      server.server.stop()
      #expect(server.handler.leftSoFar.count == 4)
    }

    @Test func pipelinedRequestsAreNoDeparture() throws {
      let server = try TestServer()
      let client = try server.client()
      try client.send(watched("a"))
      let responder = try server.handler.responders(1)[0]
      // Read together with the first one, it would not be there to be seen.
      try client.send(plain)
      // Another's leaving shows that the watch had its chance to take the second request for one.
      let other = try server.client()
      try other.send(watched("other"))
      other.close()
      #expect(try server.handler.left(1) == ["other"])
      #expect(responder.complete(TestHandler.text("first")))
      #expect(try client.response().text == "first")
      #expect(try client.response().text == "plain")
    }

    @Test func nobodyIsToldAfterTheAnswer() throws {
      let server = try TestServer()
      for round in 0..<50 {
        let client = try server.client()
        try client.send(watched("answered"))
        let responder = try server.handler.responders(1)[0]
        #expect(responder.complete(TestHandler.text("\(round)")))
        #expect(try client.response().text == "\(round)")
        client.close()
        // This one's descriptor is likely to be the same.
        let next = try server.client()
        try next.send(watched("gone"))
        let waiting = try server.handler.responders(1)
        next.close()
        #expect(try server.handler.left(round + 1).last == "gone")
        withExtendedLifetime(waiting) {}
      }
      #expect(server.handler.leftSoFar == [String](repeating: "gone", count: 50))
    }

    @Test func stopTellsNobody() throws {
      let server = try TestServer()
      let client = try server.client()
      try client.send(watched("a"))
      let responder = try server.handler.responders(1)[0]
      server.server.stop()
      #expect(try client.response().status == 503)
      #expect(!responder.complete(TestHandler.text("")))
      #expect(server.handler.leftSoFar.isEmpty)
    }

    /// An answer that counts belongs to a request that was not cancelled.
    @Test func completionsRaceWithDepartures() throws {
      let server = try TestServer()
      let won = Mutex<Set<String>>([])
      for round in 1...1000 {
        let client = try server.client()
        try client.send(watched("\(round)"))
        let responder = try server.handler.responders(1)[0]
        let racer = try OwnThread {
          if responder.complete(TestHandler.text("raced")) { won.withLock { _ = $0.insert("\(round)") } }
        }
        if round % 2 == 0 { client.close() } else { client.reset() }
        racer.join()
        #expect(try server.handler.records(round).count == round)
      }
      server.server.stop()
      #expect(won.withLock { $0 }.isDisjoint(with: server.handler.leftSoFar))
      #expect(server.server.watchedConnections == 0)
    }

    @Test func twoHundredLeaveAtOnce() throws {
      let server = try TestServer()
      let clients = try (0..<200).map { _ in try server.client() }
      for (index, client) in clients.enumerated() { try client.send(watched("\(index)")) }
      let responders = try server.handler.responders(200)
      for (index, client) in clients.enumerated() where index % 2 == 0 { client.close() }
      let left = try server.handler.left(100)
      #expect(Set(left) == Set(stride(from: 0, to: 200, by: 2).map { "\($0)" }))
      #expect(responders.count { $0.complete(TestHandler.text("stayed")) } == 100)
      for client in stride(from: 1, to: 200, by: 2).map({ clients[$0] }) {
        #expect(try client.response().text == "stayed")
      }
      #expect(try server.handler.records(200).count { $0.aborted } == 100)
      #expect(server.server.watchedConnections == 0)
    }
  }
}
