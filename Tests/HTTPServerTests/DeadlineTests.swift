import LinuxSupport
import Synchronization
import TestSupport
import Testing

@testable import HTTPServer

extension HTTPServerTests {
  @Suite struct Deadlines {
    /// A client that sends a byte now and then, well within the inactivity timeout, is cut off all the same.
    @Test(arguments: [
      "GET / HTTP/1.1\r\nHost: a\r\nX: ", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n",
    ])
    func dribblingRequestsGet408(_ beginning: String) throws {
      let server = try TestServer { $0.requestDeadline = 1 }
      let client = try server.client()
      try client.send(beginning)
      let dribble = try Dribble(client)
      let response = try client.response()
      dribble.stop()
      #expect(response.status == 408)
      #expect(response.headers["Connection"] == "close")
      #expect(try client.rest().isEmpty)
      let record = try server.handler.records(1)[0]
      #expect(record.status == 408)
      #expect(!record.aborted)
      #expect(record.requestID == response.headers["X-Request-Id"])
      #expect(record.durationNS >= 1_000_000_000)
      #expect(server.handler.requests.isEmpty)
    }

    @Test(arguments: ["", "GET / HT", "\r\n\r\n"])
    func connectionsWithoutARequestLineAreClosed(_ beginning: String) throws {
      let server = try TestServer { $0.requestDeadline = 1 }
      let client = try server.client()
      try client.send(beginning)
      let dribble = try Dribble(client, every: beginning == "" ? nil : beginning)
      #expect(try client.rest().isEmpty)
      dribble.stop()
    }

    @Test func theDeadlineIsPerRequest() throws {
      let server = try TestServer { $0.requestDeadline = 1 }
      let client = try server.client()
      let end = MonotonicClock.now() + 2_500_000_000
      while MonotonicClock.now() < end {
        #expect(try client.exchange("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na").status == 200)
      }
    }

    @Test func suspendedRequestsHaveNone() throws {
      let server = try TestServer {
        $0.requestDeadline = 1; $0.inactivityTimeout = 1
      }
      let waiting = try server.client()
      try waiting.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n")
      let responder = try server.handler.responders(1)[0]
      // Until another connection has met its deadline, which was set later.
      #expect(try server.client().rest().isEmpty)
      responder.complete(TestHandler.text("at last"))
      #expect(try waiting.response().text == "at last")
    }

    @Test func answersNobodyReadsAreCut() throws {
      let server = try TestServer { $0.requestDeadline = 1 }
      let client = try server.client()
      try client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
      let record = try server.handler.records(1)[0]
      #expect(record.aborted)
    }

    @Test func idleConnectionsTimeOut() throws {
      let server = try TestServer { $0.inactivityTimeout = 1 }
      let client = try server.client()
      #expect(try client.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status == 200)
      #expect(try client.rest().isEmpty)
    }
  }
}

/// Sends something to keep a connection busy, ten times a second, until stopped or refused.
private final class Dribble {
  private final class Shared: @unchecked Sendable {
    // Only sends while the test's thread only reads.
    let client: RawClient
    let text: String?
    let stops = Atomic(false)
    let wake = WakeSignal()
    init(_ client: RawClient, _ text: String?) { (self.client, self.text) = (client, text) }
  }

  private let shared: Shared
  private let thread: OwnThread

  init(_ client: RawClient, every text: String? = "a") throws {
    let shared = Shared(client, text)
    self.shared = shared
    thread = try OwnThread {
      while !shared.stops.load(ordering: .relaxed) {
        shared.wake.wait(until: MonotonicClock.now() + 100_000_000)
        guard let text = shared.text, (try? shared.client.send(text)) != nil else { return }
      }
    }
  }

  func stop() {
    shared.stops.store(true, ordering: .relaxed)
    shared.wake.give()
    thread.join()
  }
}
