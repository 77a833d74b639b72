import Foundation
import Testing

@testable import HTTPServer

struct IngressCase: CustomTestStringConvertible, Sendable {
  var testDescription: String
  var request: String
  var status: Int
  /// libmicrohttpd refuses it by itself, before the request line is understood.
  var isForeign = false

  init(_ name: String, _ request: String, _ status: Int) {
    (testDescription, self.request, self.status) = (name, request, status)
  }

  var foreign: IngressCase {
    var copy = self
    copy.isForeign = true
    return copy
  }

  /// The same over TLS, where targets in absolute form begin with https.
  func over(_ transport: RawClient.Transport) -> IngressCase {
    guard transport.isTLS else { return self }
    var copy = self
    copy.request = request.replacing(" https://", with: " other://").replacing(" http://", with: " https://")
      .replacing(" HTTP://", with: " HTTPS://")
    return copy
  }

  /// A GET of / with the given lines after its Host field.
  static func field(_ name: String, _ lines: String, _ status: Int) -> IngressCase {
    IngressCase(name, "GET / HTTP/1.1\r\nHost: a\r\n\(lines)\r\n\r\n", status)
  }

  static func target(_ target: String, _ status: Int) -> IngressCase {
    IngressCase("target \(target)", "GET \(target) HTTP/1.1\r\nHost: a\r\n\r\n", status)
  }

  static let framing = [
    IngressCase("plain", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    IngressCase("empty line first", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    IngressCase("HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n", 200),
    IngressCase("no Host", "GET / HTTP/1.1\r\nX: a\r\n\r\n", 400),
    IngressCase("no fields at all", "GET / HTTP/1.1\r\n\r\n", 400),
    .field("two Hosts", "Host: b", 400),
    .field("the same Host twice", "hOST: a", 400),
    .field("both lengths", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0", 400),
    .field("two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
    .field("the same length twice", "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
    .field("list of lengths", "Content-Length: 5, 5\r\n\r\nhello", 400),
    .field("signed length", "Content-Length: +5\r\n\r\nhello", 400),
    .field("hexadecimal length", "Content-Length: 0x5\r\n\r\nhello", 400),
    .field("empty length", "Content-Length:", 400),
    .field("length past 64 bits", "Content-Length: 99999999999999999999", 413),
    .field("length past 63 bits", "Content-Length: 18446744073709551614", 413),
    .field("gzip", "Transfer-Encoding: gzip", 400),
    .field("identity", "Transfer-Encoding: identity", 400),
    .field("gzip, chunked", "Transfer-Encoding: gzip, chunked\r\n\r\n0", 400),
    .field("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0", 400),
    .field("chunked and space", "Transfer-Encoding: chunked \r\n\r\n0", 400),
    .field("Chunked", "Transfer-Encoding: Chunked\r\n\r\n0", 200),
    IngressCase("chunked in HTTP/1.0", "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    .field("malformed chunk", "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
  ]

  static let fields = [
    IngressCase("Host and space", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    IngressCase("space and Host", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    .field("space in name", "X Y: a", 400),
    .field("parenthesis in name", "X(Y: a", 400),
    .field("NUL in name", "X\0Y: a", 400),
    .field("eight bits in name", "Xé: a", 400),
    .field("no name", ": a", 400),
    .field("no colon", "X", 400),
    .field("folded", "X: a\r\n b", 400),
    .field("folded by tab", "X: a\r\n\tb", 400),
    .field("hidden by folding", "Transfer-Encoding: chunked\r\n x\r\nContent-Length: 0", 400),
    .field("bare LF in value", "X: a\nY: b", 400),
    .field("bare LF at the end", "X: a\n", 400),
    IngressCase("bare LF after request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    IngressCase("bare LF as last line", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
    IngressCase("bare LF throughout", "GET / HTTP/1.1\nHost: a\n\n", 400),
    .field("bare CR in value", "X: a\rY", 400),
    .field("NUL in value", "X: a\0b", 400),
    .field("NUL at the end", "X: a\0", 400),
    .field("NUL at the end, not last", "X: a\0\r\nY: b", 400),
    .field("NUL for a value", "X: \0", 400),
    .field("control character", "X: a\u{1}b", 400),
    .field("DEL", "X: a\u{7F}b", 400),
    .field("tab", "X: a\tb", 200),
    .field("eight bits", "X: é", 200),
    .field("empty value", "X:", 200),
    .field("spaces around", "X: \t a \t ", 200),
    .field("every tchar", "!#$%&'*+-.^_`|~09azAZ: a", 200),
  ]

  static let lines = [
    IngressCase("OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    IngressCase("unknown method", "BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    IngressCase("method no token", "G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    IngressCase("NUL in method", "G\0T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    IngressCase("NUL in target", "GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    IngressCase("two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    IngressCase("space in target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    IngressCase("space at the end", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400).foreign,
    IngressCase("HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505).foreign,
    IngressCase("http/1.1", "GET / http/1.1\r\nHost: a\r\n\r\n", 400).foreign,
    .target("*", 400), .target("a", 400), .target("/a#b", 400), .target("/é", 400),
    .target("/a%00b", 400), .target("/%zz", 400), .target("/%2", 400), .target("/%", 400), .target("/%0a", 400),
    .target("/a%2Fb", 400), .target("/..", 400), .target("/a/../b", 400), .target("/./a", 400),
    .target("/%2e%2E/a", 400),
    .target("/%ff", 400), .target("/%c0%af", 400), .target("/%ED%A0%80", 400), .target("/%C3%A9", 200),
    .target("/...", 200), .target("/a/", 200), .target("//", 200), .target("/a?b=%zz", 400), .target("/a?b=%00", 400),
    .target("/a?%ff", 400), .target("/a?b=../%2F", 200),
  ]

  /// RFC 9112, 3.2.2.
  static let absolute = [
    target("http://a/", 200), target("http://a", 200), target("http://a?b=c", 200), target("HTTP://a:80/b?c", 200),
    target("http://[::1]:8080/", 200), target("http://other/", 200), target("http://a%20b/", 200),
    target("http://", 400), target("http:///a", 400), target("http://:80/", 400), target("http:/a", 400),
    target("http:a", 400), target("https://a/", 400), target("ftp://a/", 400), target("http://u@a/", 400),
    target("http://u:p@a/", 400), target("http://a#b", 400), target("http://a\\b/", 400), target("http://a/../b", 400),
    target("http://a/%00", 400), target("http://a?%zz", 400), target("http://a\"/", 400), target("http://é/", 400),
    IngressCase("OPTIONS of a host", "OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    IngressCase("CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    IngressCase("absolute without Host", "GET http://a/ HTTP/1.1\r\n\r\n", 400),
    IngressCase("absolute with two Hosts", "GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
  ]

  /// Of a field of one value, which line counts is a matter of taste.
  static let singletons = [
    "Content-Type", "Content-Range", "Range", "If-Range", "Authorization", "Idempotency-Key", "Last-Event-ID",
  ].map { field("two of \($0)", "\($0): a\r\n\($0.lowercased()): a", 400) }

  static let lists = ["If-Match", "If-None-Match", "Accept", "Connection", "Via", "X-Other"].map {
    field("two of \($0)", "\($0): a\r\n\($0): b", 200)
  }
}

extension HTTPServerTests {
  @Suite struct Ingress {
    @Test(
      arguments: IngressCase.framing + IngressCase.fields + IngressCase.lines + IngressCase.absolute
        + IngressCase.singletons + IngressCase.lists, [RawClient.Transport.plain, .tls()])
    func statusOfOneRequest(_ example: IngressCase, _ transport: RawClient.Transport) throws {
      let example = example.over(transport)
      let server = try TestServer(over: transport)
      let client = try server.client(transport)
      // What is not understood must not leave bytes behind that count as a second request.
      try client.send(example.request)
      let response = try client.response()
      // The connection of another answer is not closed: it would be waited for in vain.
      try #require(response.status == example.status)
      #expect(server.handler.requests.isEmpty == (example.status != 200))
      if example.status != 200 {
        #expect(response.headers["Connection"] == "close")
        #expect(try client.rest().isEmpty || example.isForeign)
      }
      guard !example.isForeign else { return }
      let record = try server.handler.records(1)[0]
      #expect(record.status == example.status)
      #expect(!record.aborted)
    }

    @Test(
      arguments: [
        "Content-Length: 42\r\nTransfer-Encoding: chunked", "Transfer-Encoding: gzip",
        "Content-Length: 0\r\nContent-Length: 42",
        "Content-Length: 0x2a", "Content-Length: 0, 42",
      ], [RawClient.Transport.plain, .tls()])
    func nothingIsSmuggled(_ fields: String, _ transport: RawClient.Transport) throws {
      let server = try TestServer(over: transport)
      let client = try server.client(transport)
      try client.send(
        "POST / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(try client.response().status == 400)
      #expect(try !String(decoding: client.rest(), as: UTF8.self).contains(" 200 "))
      #expect(server.handler.requests.isEmpty)
    }

    /// The host of an absolute target counts, and not that of the Host field.
    @Test(arguments: [
      ("http://h:80/a%20b/c?x=1", "/a%20b/c", ["a b", "c"], "h:80"), ("http://h", "/", [], "h"),
      ("http://h?x=1", "/", [], "h"), ("http://[::1]/a/", "/a/", ["a", ""], "[::1]"), ("/a", "/a", ["a"], "field"),
    ])
    func absoluteTargets(_ target: String, _ path: String, _ segments: [String], _ host: String) throws {
      let server = try TestServer()
      #expect(try server.client().exchange("GET \(target) HTTP/1.1\r\nhost: field\r\nX: a\r\n\r\n").status == 200)
      let head = try #require(server.handler.requests.first).head
      #expect(head.rawPath == path)
      #expect(head.pathSegments == segments)
      #expect(head.query.map(\.name) == (target.contains("?") ? ["x"] : []))
      #expect(head.headers.all("Host") == [host])
      #expect(head.headers["X"] == "a")
      #expect(try server.client().exchange("GET \(target) HTTP/1.0\r\n\r\n").status == 200)
      #expect(server.handler.requests[1].head.headers["Host"] == (host == "field" ? nil : host))
    }

    /// libmicrohttpd sends the head of its own page twice. The head comes in one piece, and in two.
    @Test(arguments: ["GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n"], [nil, 5, 20, 52])
    func aMalformedLengthGetsOneAnswer(_ request: String, _ cut: Int?) throws {
      for transport in [RawClient.Transport.plain, .tls()] {
        try aMalformedLengthGetsOneAnswer(request, cut, transport)
      }
    }

    private func aMalformedLengthGetsOneAnswer(
      _ request: String, _ cut: Int?, _ transport: RawClient.Transport
    ) throws {
      let server = try TestServer(over: transport)
      let client = try server.client(transport)
      let bytes = Array(request.utf8)
      if let cut {
        try client.send(Array(bytes.prefix(cut)))
        // Another connection is served meanwhile, so the first part has been read.
        for _ in 0..<4 {
          #expect(try server.client(transport).exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status == 200)
        }
      }
      try client.send(Array(bytes.dropFirst(cut ?? 0)))
      let answer = String(decoding: try client.rest(), as: UTF8.self)
      #expect(answer.hasPrefix("HTTP/1.1 400 Bad Request\r\n"))
      #expect(answer.components(separatedBy: "HTTP/1.1").count == 2)
      #expect(answer.contains("\r\nX-Refused: "))
      #expect(try server.handler.records(cut == nil ? 1 : 5).count { $0.status == 400 && !$0.aborted } == 1)
    }

    @Test func refusedHeadsAreFitForALog() throws {
      let server = try TestServer()
      #expect(try server.client().exchange("GET /a\u{1}b?secret HTTP/1.1\r\nHost: a\r\n\r\n").status == 400)
      let record = try server.handler.records(1)[0]
      #expect(record.rawPath == "/a%01b")
      #expect(record.method.isEmpty)
    }

    @Test func oversizedHeads() throws {
      let server = try TestServer()
      let long = String(repeating: "a", count: 40_000)
      #expect(try server.client().exchange("GET / HTTP/1.1\r\nHost: a\r\nX: \(long)\r\n\r\n").status == 431)
      #expect(try server.handler.records(1)[0].status == 431)
      #expect(try server.client().exchange("GET /\(long) HTTP/1.1\r\nHost: a\r\n\r\n").status == 414)
    }

    /// What README and the API's document promise, and no more than a page beyond it.
    @Test func theLargestHead() throws {
      let server = try TestServer()
      func status(_ fields: String) throws -> Int {
        try server.client().exchange("GET / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n").status
      }
      #expect(try status("X: \(String(repeating: "a", count: 15_000))\r\n") == 200)
      #expect(try status("X: \(String(repeating: "a", count: 16_384))\r\n") == 431)
      #expect(try status(String(repeating: "X: a\r\n", count: 200)) == 200)
      #expect(try status(String(repeating: "X: a\r\n", count: 400)) == 431)
      let target = String(repeating: "a", count: 15_000)
      #expect(try server.client().exchange("GET /\(target) HTTP/1.1\r\nHost: a\r\n\r\n").status == 200)
    }

    /// Heads that grow libmicrohttpd's buffer must not be mistaken for hidden octets.
    @Test(arguments: [RawClient.Transport.plain, .tls()])
    func largeHeadsInPieces(_ transport: RawClient.Transport) throws {
      let server = try TestServer(over: transport) { $0.connectionMemoryLimit = 32 << 10 }
      let client = try server.client(transport)
      for size in [1000, 15_000, 17_000, 20_000, 24_000] {
        let long = String(repeating: "a", count: size)
        try client.send("GET / HTTP/1.1\r\nHost: a\r\nX: ")
        try client.send(long)
        try client.send("\r\nY")
        try client.send(": b\r\n\r\n")
        #expect(try client.response().status == 200)
        let headers = try #require(server.handler.requests.last).head.headers
        #expect(headers["x"] == long)
        #expect(headers["y"] == "b")
      }
    }
  }
}
