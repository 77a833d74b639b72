import LinuxSupport
import Synchronization
import Testing

@testable import HTTPServer

private let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
private let probe = "GET /essential HTTP/1.1\r\nHost: a\r\n\r\n"
private let later = "GET /later HTTP/1.1\r\nHost: a\r\n\r\n"

extension HTTPServerTests {
  /// What becomes of connections and waiting requests beyond their limits.
  @Suite struct Limits {
    /// Waits for something that the server's threads do a moment after they answered.
    private func becomes(_ condition: () -> Bool) throws {
      let end = MonotonicClock.now() + 20_000_000_000
      while !condition() {
        if MonotonicClock.now() > end { throw RawClient.Failure(description: "it did not become so") }
        MonotonicClock.sleep(untilNS: MonotonicClock.now() + 1_000_000)
      }
    }

    @Test func theConnectionThatWasIdleLongestIsClosed() throws {
      let server = try TestServer {
        ($0.load, $0.threads) = (HTTPLoad(connectionLimit: 3), 1)
      }
      let clients = try (0..<3).map { _ in try server.client() }
      for index in [1, 0, 2] { #expect(try clients[index].exchange(get).status == 200) }
      let newcomer = try server.client()
      #expect(try newcomer.exchange(get).status == 200)
      #expect(try clients[1].rest().isEmpty)
      for client in [clients[0], clients[2], newcomer] { #expect(try client.exchange(get).status == 200) }
    }

    /// Whichever thread has it.
    @Test func idleConnectionsMakeRoomOnAllThreads() throws {
      let load = HTTPLoad(connectionLimit: 8)
      let server = try TestServer { $0.load = load }
      var clients: [RawClient] = []
      for _ in 0..<100 {
        let client = try server.client()
        clients.append(client)
        #expect(try client.exchange(get).status == 200)
        try becomes { load.connections <= 8 }
      }
      #expect(try clients[99].exchange(get).status == 200)
    }

    @Test func connectionsThatNeverSpokeMakeRoom() throws {
      let load = HTTPLoad(connectionLimit: 4)
      let server = try TestServer {
        ($0.load, $0.requestDeadline) = (load, 8)
      }
      let silent = try (0..<4).map { _ in try server.client() }
      // They have a second to send something.
      try becomes { (try? server.client().exchange(get).status) == 200 }
      try becomes { load.connections <= 4 }
      withExtendedLifetime(silent) {}
    }

    @Test(arguments: [
      later, "GET / HTTP/1.1\r\nHost: a\r\nX: ", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\na",
    ])
    func essentialRequestsAreServedAllTheSame(_ beginning: String) throws {
      let lines = Atomic(0)
      let load = HTTPLoad(connectionLimit: 4) { _ in lines.add(1, ordering: .relaxed) }
      let server = try TestServer { $0.load = load }
      let busy = try (0..<4).map { _ in try server.client() }
      for client in busy { try client.send(beginning) }
      let responders = beginning == later ? try server.handler.responders(4) : []
      defer { withExtendedLifetime(responders) {} }
      for _ in 0..<50 {
        let essential = try server.client().exchange(probe)
        #expect(essential.status == 200)
        #expect(essential.headers["Connection"] == "close")
        let other = try server.client()
        let refused = try other.exchange(get)
        #expect(refused.status == 503)
        #expect(refused.headers["Connection"] == "close")
        #expect(try other.rest().isEmpty)
      }
      #expect(try server.handler.records(50).contains { $0.status == 503 && !$0.aborted })
      #expect(lines.load(ordering: .relaxed) == 1)
      for responder in responders { responder.complete(TestHandler.text("done")) }
      for client in busy { client.close() }
      try becomes { load.connections == 0 }
      let client = try server.client()
      #expect(try client.exchange(get).headers["Connection"] == nil)
      #expect(try client.exchange(get).status == 200)
    }

    /// A crowd that says nothing cannot take the reserve either.
    @Test func theReserveGoesToThoseThatSpeak() throws {
      let load = HTTPLoad(connectionLimit: 1)
      let server = try TestServer {
        ($0.load, $0.threads) = (load, 1)
      }
      let waiting = try server.client()
      try waiting.send(later)
      let responder = try server.handler.responders(1)[0]
      let silent = try (0..<3 * ServerThread.reserve).map { index in
        let client = try server.client()
        try client.send(["", "GET /ess", "GET /essential HTTP/1.1\r\nHo"][index % 3])
        return client
      }
      #expect(try server.client().exchange(probe).status == 200)
      #expect(try silent[0].rest().isEmpty)
      try becomes { load.connections <= 1 + ServerThread.reserve }
      responder.complete(TestHandler.text("at last"))
      #expect(try waiting.response().text == "at last")
    }

    @Test func whatWaitsIsCounted() throws {
      let lines = Atomic(0)
      let load = HTTPLoad(waitingLimit: 3) { _ in lines.add(1, ordering: .relaxed) }
      let server = try TestServer { $0.load = load }
      let waiting = try (0..<2).map { _ in try server.client() }
      // One after the other: the server's threads would begin them in any order.
      let responders = try waiting.map { client in
        try client.send(later)
        return try server.handler.responders(1)[0]
      }
      try becomes { load.waiting == 2 }
      #expect(load.admitsWaiting())
      let reader = try server.client()
      try reader.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
      let stream = try server.handler.streams(1)[0]
      #expect(load.streams == 1)
      #expect(!load.admitsWaiting())
      #expect(!load.admitsWaiting())
      #expect(lines.load(ordering: .relaxed) == 1)
      #expect(load.connections == 3)
      stream.finish()
      responders[0].complete(TestHandler.text("done"))
      #expect(try waiting[0].response().text == "done")
      waiting[1].close()
      responders[1].complete(TestHandler.text("done"))
      try becomes { load.waiting == 0 && load.streams == 0 }
      #expect(load.admitsWaiting())
    }
  }
}
