import Testing

@testable import HTTPServer

private let get = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"

extension HTTPServerTests {
  @Suite struct Exchanges {
    @Test func headReachesTheHandler() throws {
      let server = try TestServer()
      let response = try server.client().exchange(
        "PUT /a%20b/c%C3%A9/?x=1&y=a+b%2B&z&x=%26 HTTP/1.1\r\nHost: h\r\nUser-Agent: t\r\nX-A: 1 \r\nx-a: 2\r\n"
          + "Content-Length: 3\r\n\r\nabc")
      #expect(response.status == 200)
      let request = try #require(server.handler.requests.first)
      #expect(request.head.method == "PUT")
      #expect(request.head.rawPath == "/a%20b/c%C3%A9/")
      #expect(request.head.pathSegments == ["a b", "cé", ""])
      #expect(request.head.query.map(\.name) == ["x", "y", "z", "x"])
      #expect(request.head.query.map(\.value) == ["1", "a b+", "", "&"])
      #expect(request.head.headers.all("X-A") == ["1", "2"])
      #expect(request.head.headers.pairs.map(\.name) == ["Host", "User-Agent", "X-A", "x-a", "Content-Length"])
      #expect(request.head.peer == "127.0.0.1")
      #expect(request.head.contentLength == 3)
      #expect(request.body == Array("abc".utf8))
      let record = try server.handler.records(1)[0]
      #expect(record.method == "PUT")
      #expect(record.rawPath == "/a%20b/c%C3%A9/")
      #expect(record.peer == "127.0.0.1")
      #expect(record.bytesSent == "plain".utf8.count)
      #expect(record.durationNS > 0)
      #expect(record.requestID == response.headers["X-Request-Id"])
    }

    @Test func answersCarryWhatTheServerAdds() throws {
      let server = try TestServer()
      let response = try server.client().exchange("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
      #expect(response.text == "hello")
      #expect(response.headers["X-Method"] == "POST")
      #expect(response.headers["Date"] != nil)
      #expect(response.headers.all("Content-Length") == ["5"])
      #expect(response.headers["Connection"] == nil)
    }

    @Test func keepAlive() throws {
      let server = try TestServer()
      let client = try server.client()
      for index in 0..<50 {
        let body = "body \(index)"
        let request = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
        #expect(try client.exchange(request).text == body)
      }
      #expect(Set(try server.handler.records(50).map(\.requestID)).count == 50)
    }

    @Test func connectionCloseIsHonoured() throws {
      let server = try TestServer()
      let client = try server.client()
      let response = try client.exchange("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
      #expect(response.headers["Connection"] == "close")
      #expect(try client.rest().isEmpty)
    }

    @Test func pipelining() throws {
      let server = try TestServer()
      let client = try server.client()
      let requests = (0..<20).map { "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n\($0 + 10)" }
      try client.send(requests.joined())
      for index in 0..<20 { #expect(try client.response().text == "\(index + 10)") }
    }

    @Test func pipeliningBehindASuspendedRequest() throws {
      let server = try TestServer()
      let client = try server.client()
      try client.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n" + get)
      try server.handler.responders(1)[0].complete(TestHandler.text("slow"))
      #expect(try client.response().text == "slow")
      #expect(try client.response().text == "plain")
    }

    @Test func chunkedUpload() throws {
      let server = try TestServer()
      let client = try server.client()
      try client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r")
      try client.send("\n7;ext=1\r\n, world\r\n0\r\nTrailer: t\r\n\r\n" + get)
      #expect(try client.response().text == "hello, world")
      #expect(server.handler.requests[0].head.contentLength == nil)
      #expect(try client.response().text == "plain")
    }

    @Test func uploadByteByByte() throws {
      let server = try TestServer()
      let client = try server.client()
      for byte in "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc".utf8 { try client.send([byte]) }
      #expect(try client.response().text == "abc")
    }

    @Test func largestBody() throws {
      let server = try TestServer()
      let client = try server.client()
      let body = [UInt8](repeating: 0x61, count: 1 << 20)
      try client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: \(body.count)\r\n\r\n")
      try client.send(body)
      #expect(try client.response().body == body)
      #expect(try client.exchange(get).status == 200)
    }

    @Test func headHasLengthButNoBody() throws {
      let server = try TestServer()
      let client = try server.client()
      try client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
      let response = try client.response(head: true)
      #expect(response.headers["Content-Length"] == "5")
      #expect(try client.exchange(get).text == "plain")
      #expect(try server.handler.records(1)[0].bytesSent == 0)
    }

    @Test func noContentHasNoLength() throws {
      let server = try TestServer()
      let client = try server.client()
      let response = try client.exchange("DELETE /empty HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(response.status == 204)
      #expect(response.headers["Content-Length"] == nil)
      #expect(try client.exchange(get).status == 200)
    }

    @Test func tooLongByLengthIsRefusedBeforeTheBody() throws {
      let server = try TestServer { $0.bodyLimit = 1000 }
      let client = try server.client()
      let response = try client.exchange("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n")
      #expect(response.status == 413)
      #expect(response.headers["Connection"] == "close")
      #expect(try client.rest().isEmpty)
      #expect(server.handler.requests.isEmpty)
    }

    @Test func tooLongByChunksIsRefusedAtTheEnd() throws {
      let server = try TestServer { $0.bodyLimit = 1000 }
      let client = try server.client()
      let chunk = "1f4\r\n" + String(repeating: "a", count: 500) + "\r\n"
      try client.send(
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + chunk + "1\r\na\r\n0\r\n\r\n")
      #expect(try client.response().status == 413)
      #expect(
        try client.exchange(
          "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + chunk + "0\r\n\r\n"
        ).body.count == 1000)
    }

    @Test func endlessChunksAreCutOff() throws {
      let server = try TestServer { $0.bodyLimit = 1000 }
      let client = try server.client()
      let chunk = "1f4\r\n" + String(repeating: "a", count: 500) + "\r\n"
      let id = "X-Request-Id: mine\r\n"
      try client.send(
        "POST /echo HTTP/1.1\r\nHost: a\r\n\(id)Transfer-Encoding: chunked\r\n\r\n" + String(repeating: chunk, count: 5)
      )
      let response = try client.response()
      #expect(response.status == 413)
      #expect(response.headers["Connection"] == "close")
      #expect(response.headers["X-Request-Id"] == "mine")
      #expect(try client.rest().isEmpty)
      let record = try server.handler.records(1)[0]
      #expect(record.status == 413)
      #expect(!record.aborted)
      #expect(server.handler.requests.isEmpty)
    }

    @Test func refusalByTheHandlerWaitsForTheBody() throws {
      let server = try TestServer()
      let client = try server.client()
      try client.send("POST /denied HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
      try client.send("hello" + get)
      #expect(try client.response().text == "denied")
      #expect(try client.response().status == 200)
      #expect(try client.exchange("GET /denied HTTP/1.1\r\nHost: a\r\n\r\n").status == 401)
      #expect(try client.exchange(get).status == 200)
    }

    @Test func expectContinue() throws {
      let server = try TestServer()
      let client = try server.client()
      let fields = "Host: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
      #expect(try client.exchange("POST /echo HTTP/1.1\r\n" + fields).status == 100)
      #expect(try client.exchange("hello").text == "hello")
      let denied = try client.exchange("POST /denied HTTP/1.1\r\n" + fields)
      #expect(denied.status == 401)
      #expect(denied.headers["Connection"] == "close")
      #expect(try client.rest().isEmpty)
    }

    @Test(arguments: ["abc-123", String(repeating: "x", count: 128), "a,b;c=d"])
    func saneRequestIDsAreEchoed(_ id: String) throws {
      let server = try TestServer()
      let response = try server.client().exchange("GET / HTTP/1.1\r\nHost: a\r\nx-request-id: \(id)\r\n\r\n")
      #expect(response.headers["X-Request-Id"] == id)
      #expect(try server.handler.records(1)[0].requestID == id)
    }

    @Test(arguments: ["", String(repeating: "x", count: 129), "a b", "a\"b", "a\\b", "é"])
    func otherRequestIDsAreReplaced(_ id: String) throws {
      let server = try TestServer()
      let response = try server.client().exchange("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: \(id)\r\n\r\n")
      let own = try #require(response.headers["X-Request-Id"])
      #expect(own != id)
      #expect(!own.isEmpty)
      #expect(server.handler.requests[0].head.requestID == own)
    }

    @Test(arguments: ["split", "cut", "length", "status"])
    func answersThatCannotBeSentAre500(_ path: String) throws {
      let server = try TestServer()
      let client = try server.client()
      let response = try client.exchange("GET /\(path) HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(response.status == 500)
      #expect(response.headers["X-Injected"] == nil)
      #expect(response.headers["X-Refused"] == response.headers["X-Request-Id"])
      #expect(try client.exchange(get).status == 200)
    }

    @Test func draining() throws {
      let server = try TestServer()
      let old = try server.client()
      #expect(try old.exchange(get).headers["Connection"] == nil)
      server.server.beginDraining()
      #expect(try old.exchange(get).headers["Connection"] == "close")
      #expect(try old.rest().isEmpty)
      #expect(try server.client().exchange(get).status == 200)
    }
  }
}
