import APIClient
import APIModel
import Glibc
import TestSupport
import Testing

/// Runs the body with a client of a server that has that script.
func withServer(
  _ answers: [ScriptedServer.Answer], path: String? = nil, timeout: Duration = .seconds(20),
  _ body: (VMPoolClient, ScriptedServer) throws -> Void
) throws {
  let server = try ScriptedServer(answers, path: path)
  defer { server.stop() }
  // The client goes first: the server's thread waits for the end of its connection.
  try body(VMPoolClient(endpoint: Endpoint(server.endpoint), timeout: timeout), server)
}

@Suite struct TransportTests {
  @Test func keepsOneConnection() throws {
    try withServer([.http(200, "a"), .http(404, "b"), .http(200, "c")]) { client, server throws in
      for (status, body) in [(200, "a"), (404, "b"), (200, "c")] {
        let response = try client.send("GET", to: "/")
        #expect(response.status == status)
        #expect(response.body == Array(body.utf8))
      }
      #expect(server.connections == 1)
    }
  }

  @Test func connectsAgainWhenTheServerCloses() throws {
    try withServer([.http(200, "a"), .lastBytes(Array("HTTP/1.1 204 No\r\n\r\n".utf8)), .http(200, "b")]) {
      client, server throws in
      for _ in 0..<3 { _ = try client.send("GET", to: "/") }
      #expect(server.requests.count == 3)
      #expect(server.connections == 2)
    }
  }

  @Test func sendsTheRequestAsItIs() throws {
    try withServer([.http(), .http(), .http(), .http()]) { client, server throws in
      _ = try client.send(
        "PATCH", to: "/a/../b%00//%2F", query: [HTTPField("q", "a b&c=d/é")], headers: [HTTPField("X-A", "1")])
      _ = try client.send("POST", to: "/", body: [])
      _ = try client.send("POST", to: "/", headers: [HTTPField("Content-Type", "text/plain")], body: [0, 10, 255])
      _ = try client.send("GET", to: "/", headers: [HTTPField("X-Empty", "")], body: Array("x".utf8))
      let requests = server.requests
      #expect(requests[0].line == "PATCH /a/../b%00//%2F?q=a%20b%26c%3Dd%2F%C3%A9 HTTP/1.1")
      #expect(requests[0].header("X-A") == "1")
      #expect(requests[0].header("Content-Length") == nil)
      #expect(requests[1].header("Content-Length") == "0")
      #expect(requests[1].header("Content-Type") == nil)
      #expect(requests[2].header("Content-Type") == "text/plain")
      #expect(requests[2].body == [0, 10, 255])
      #expect(requests[3].line == "GET / HTTP/1.1")
      #expect(requests[3].header("X-Empty") == "")
      #expect(requests[3].body == [UInt8(ascii: "x")])
    }
  }

  /// Each way to send, and after an answer that sends elsewhere.
  @Test func presentsItsKeyWithEachRequest() throws {
    let answers: [ScriptedServer.Answer] = [
      .http(), .http(302, headers: ["Location: /elsewhere"]), .http(403, type: "application/problem+json", "{}"),
      .http(),
    ]
    let server = try ScriptedServer(answers)
    defer { server.stop() }
    do {
      let client = try VMPoolClient(endpoint: Endpoint(server.endpoint), key: "vmp_secret")
      for _ in 0..<2 { _ = try client.send("GET", to: "/") }
      var cursor = EventCursor()
      #expect(throws: APIError.self) { try client.events(from: &cursor) { _, _ in false } }
      _ = try client.send("POST", to: "/", body: Array("x".utf8))
    }
    #expect(server.requests.map { $0.header("Authorization") } == Array(repeating: "Bearer vmp_secret", count: 4))
  }

  @Test func withoutAKeyItPresentsNone() throws {
    try withServer([.http()]) { client, server throws in
      _ = try client.send("GET", to: "/")
      #expect(server.requests[0].header("Authorization") == nil)
    }
  }

  @Test func sendsALargeBodyWithoutAskingFirst() throws {
    let body = [UInt8](repeating: 7, count: 3 << 20)
    try withServer([.http()]) { client, server throws in
      _ = try client.send("POST", to: "/", body: body)
      #expect(server.requests[0].header("Expect") == nil)
      #expect(server.requests[0].body == body)
    }
  }

  @Test(arguments: ["X: 1\r\nY: 2", "a\nb", "a\0b"])
  func refusesWhatWouldSplitARequest(text: String) throws {
    try withServer([.http(), .http(), .http()]) { client, server throws in
      #expect(throws: APIError.self) { try client.send("GET", to: "/", headers: [HTTPField("A", text)]) }
      #expect(throws: APIError.self) { try client.send("GET", to: "/" + text) }
      #expect(throws: APIError.self) { try client.send(text, to: "/") }
      #expect(server.requests.isEmpty)
    }
  }

  @Test func readsHeadersAndBytes() throws {
    let interim = Array("HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\n".utf8)
    let final = Array("HTTP/1.1 200 OK\r\nX-A:  b c \r\nx-a: 2\r\nX-Empty:\r\nContent-Length: 3\r\n\r\n".utf8)
    try withServer([.bytes(interim + final + [0, 255, 10])]) { client, _ throws in
      let response = try client.send("GET", to: "/")
      #expect(response.header("x-A") == "b c")
      #expect(response.header("X-Empty") == "")
      #expect(response.header("X-Early") == nil)
      #expect(response.headers.map(\.value) == ["b c", "2", "", "3"])
      #expect(response.body == [0, 255, 10])
    }
  }

  @Test func readsAHeadWithoutItsBody() throws {
    let head = Array("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n".utf8)
    try withServer([.bytes(head), .http(200, "x")]) { client, _ throws in
      let response = try client.send("HEAD", to: "/")
      #expect(response.header("Content-Length") == "100")
      #expect(response.body.isEmpty)
      #expect(try client.send("GET", to: "/").body == Array("x".utf8))
    }
  }

  @Test func speaksOverAUnixSocket() throws {
    let scratch = try ScratchDirectory()
    try withServer([.http(200, "a")], path: scratch.path(of: "a socket")) { client, server throws in
      #expect(try client.send("GET", to: "/x").body == Array("a".utf8))
      #expect(server.requests[0].line == "GET /x HTTP/1.1")
      #expect(server.requests[0].header("Host") == "localhost")
    }
  }

  @Test func tellsWhenNobodyListens() throws {
    let server = try ScriptedServer([])
    server.stop()
    let client = try VMPoolClient(endpoint: Endpoint(server.endpoint))
    #expect { try client.host() } throws: { error in
      guard case .unreachable(server.endpoint, let reason, _) = error as? APIError else { return false }
      return !reason.isEmpty
    }
  }

  @Test func tellsWhenTheConnectionBreaks() throws {
    let half = Array("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".utf8)
    try withServer([.lastBytes([]), .lastBytes(half)]) { client, _ throws in
      for _ in 0..<2 {
        #expect { try client.host() } throws: {
          if case .unreachable = $0 as? APIError { true } else { false }
        }
      }
    }
  }

  @Test func givesUpWhenTheTimeIsOver() throws {
    try withServer([.silence], timeout: .milliseconds(50)) { client, _ throws in
      #expect { try client.host() } throws: {
        if case .unreachable = $0 as? APIError { true } else { false }
      }
    }
  }

  @Test func refusesAnotherProtocol() throws {
    try withServer([.lastBytes(Array("SSH-2.0-OpenSSH_9.2\r\n".utf8))]) { client, server throws in
      #expect { try client.host() } throws: {
        if case .foreign(server.endpoint, "it does not speak HTTP") = $0 as? APIError { true } else { false }
      }
    }
  }

  /// In our own words, and not in the library's.
  @Test func tellsThatThereIsNoSuchHost() throws {
    let client = try VMPoolClient(endpoint: .tcp(host: "no-such-host.invalid", port: 1))
    #expect { try client.host() } throws: {
      if case .unreachable(_, "no address is known for that host", nil) = $0 as? APIError { true } else { false }
    }
  }
}
