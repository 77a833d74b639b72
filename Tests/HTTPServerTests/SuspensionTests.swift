import TestSupport
import Testing

@testable import HTTPServer

private let later = "GET /later HTTP/1.1\r\nHost: a\r\n\r\n"

extension HTTPServerTests {
  @Suite struct Suspension {
    @Test func answersFromAnotherThread() throws {
      let server = try TestServer()
      let client = try server.client()
      for round in 0..<20 {
        try client.send(later)
        try server.handler.responders(1)[0].complete(TestHandler.text("\(round)"))
        #expect(try client.response().text == "\(round)")
      }
    }

    @Test func clientGoneWhileSuspended() throws {
      let server = try TestServer()
      try server.client().send(later)
      try server.handler.responders(1)[0].complete(TestHandler.text("nobody"))
      // Whether the kernel still takes the answer is a matter of luck; the request must end either way.
      #expect(try server.handler.records(1).count == 1)
      #expect(try server.client().exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status == 200)
    }

    @Test func clientsThatSendNoMoreAreAnswered() throws {
      let server = try TestServer()
      let client = try server.client()
      try client.send(later)
      client.endSending()
      try server.handler.responders(1)[0].complete(TestHandler.text("done"))
      #expect(try client.response().text == "done")
      #expect(try client.rest().isEmpty)
    }

    @Test func clientGoneInTheMiddleOfABody() throws {
      let server = try TestServer()
      let client = try server.client()
      try client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
      client.close()
      let record = try server.handler.records(1)[0]
      #expect(record.aborted)
      #expect(record.status == 0)
    }

    @Test func clientGoneInTheMiddleOfAnAnswer() throws {
      let server = try TestServer()
      let client = try server.client()
      try client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(try client.responseHead().status == 200)
      client.close()
      let record = try server.handler.records(1)[0]
      #expect(record.aborted)
    }

    @Test func stopAnswersWhatIsSuspended() throws {
      let server = try TestServer()
      let clients = try (0..<10).map { _ in try server.client() }
      for client in clients { try client.send(later) }
      let responders = try server.handler.responders(10)
      server.server.stop()
      for client in clients {
        let response = try client.response()
        #expect(response.status == 503)
        #expect(response.headers["Connection"] == "close")
        #expect(try client.rest().isEmpty)
      }
      #expect(try server.handler.records(10).allSatisfy { $0.status == 503 && !$0.aborted })
      for responder in responders { responder.complete(TestHandler.text("too late")) }
    }

    @Test func stopWhileRequestsAreSuspendedAndAnswered() throws {
      for _ in 0..<20 {
        let server = try TestServer()
        let clients = try (0..<8).map { _ in try server.client() }
        for client in clients { try client.send(later) }
        let first = try server.handler.responders(1)
        // Half of the completions race with stop, and some requests are not even read yet.
        let racer = try OwnThread { for responder in first { responder.complete(TestHandler.text("raced")) } }
        server.server.stop()
        racer.join()
        server.server.stop()
        #expect(server.server.boundAddresses.isEmpty)
      }
    }
  }
}
