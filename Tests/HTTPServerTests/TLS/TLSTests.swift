import Glibc
import TestSupport
import Testing

@testable import HTTPServer

extension HTTPServerTests {
  @Suite struct TLS {
    private static let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    private let certificates = TestCertificates.shared

    private func server(
      clientAuthority: [UInt8]? = nil, _ change: (inout HTTPServerConfiguration) -> Void = { _ in }
    ) throws -> TestServer {
      let credentials = try certificates.server(clientAuthority: clientAuthority)
      return try TestServer {
        $0.credentials = credentials
        change(&$0)
      }
    }

    // MARK: Transport

    @Test(arguments: ["NORMAL", "NORMAL:-VERS-ALL:+VERS-TLS1.2", "NORMAL:-VERS-ALL:+VERS-TLS1.3"])
    func requestsOnAKeptConnection(_ priorities: String) throws {
      let server = try server()
      let client = try server.client(.tls(priorities: priorities))
      for _ in 0..<3 { #expect(try client.exchange(Self.request).text == "plain") }
      // Two in one record.
      try client.send(Self.request + Self.request)
      for _ in 0..<2 { #expect(try client.response().status == 200) }
      #expect(server.handler.requests.allSatisfy { $0.head.proof == .nothing })
    }

    @Test(arguments: [
      "NORMAL:-VERS-ALL:+VERS-TLS1.0:%COMPAT", "NORMAL:-VERS-ALL:+VERS-TLS1.1",
      "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+RSA",
      "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-CBC:+AES-256-CBC",
      "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-CCM",
    ])
    func weakOnesAreRefused(_ priorities: String) throws {
      let server = try server()
      #expect(throws: RawClient.Failure.self) { try server.client(.tls(priorities: priorities)) }
    }

    @Test func plainBytesGetNoAnswerInPlain() throws {
      let server = try server()
      let client = try server.client()
      try client.send(Self.request)
      #expect(try !String(decoding: client.rest(), as: UTF8.self).contains("HTTP/1.1"))
      #expect(server.handler.requests.isEmpty)
    }

    @Test func unixSocketsStayPlain() throws {
      let directory = try ScratchDirectory()
      let credentials = try certificates.server()
      let server = try TestServer([.unix(path: directory.path(of: "s")), .tcp(host: "127.0.0.1", port: 0)]) {
        $0.credentials = credentials
      }
      #expect(try server.client(0).exchange(Self.request).status == 200)
      #expect(try server.client(1, .tls()).exchange(Self.request).status == 200)
    }

    /// The answers that libmicrohttpd takes none of: in the middle of a body, and for one that does not come.
    @Test func answersInTheMiddleOfABody() throws {
      let server = try server { $0.bodyLimit = 1000 }
      let client = try server.client(.tls())
      try client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
      for _ in 0..<8 { try client.send("200\r\n" + String(repeating: "a", count: 512) + "\r\n") }
      let response = try client.response()
      #expect(response.status == 413)
      #expect(response.text == HTTPRefusal.bodyTooLarge(limit: 1000).detail)
      #expect(try server.handler.records(1)[0].status == 413)
    }

    @Test func aSinkAnswersInTheMiddleOfItsBody() throws {
      let server = try server()
      let client = try server.client(.tls())
      try client.send("PUT /sink/full HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
      try client.send([UInt8](repeating: 1, count: 200_000))
      let response = try client.response()
      #expect(response.status == 507)
      #expect(response.text == "full")
    }

    @Test func longBodiesBothWays() throws {
      let server = try server()
      let client = try server.client(.tls())
      let body = [UInt8](repeating: 0x62, count: 1 << 20)
      try client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: \(body.count)\r\n\r\n")
      try client.send(body)
      #expect(try client.response().body == body)
      #expect(try client.exchange("GET /big HTTP/1.1\r\nHost: a\r\n\r\n").body.count == 8 << 20)
      try client.send("PUT /sink/whole HTTP/1.1\r\nHost: a\r\nContent-Length: \(3 * body.count)\r\n\r\n")
      for _ in 0..<3 { try client.send(body) }
      #expect(try client.response().text.hasPrefix("\(3 * body.count) "))
    }

    @Test func files() throws {
      let server = try server()
      let directory = try ScratchDirectory()
      var generator = SeededGenerator(seed: 16)
      let bytes = (0..<1_000_000).map { _ in UInt8.random(in: 0...255, using: &generator) }
      let path = try directory.write(bytes, to: "file")
      let client = try server.client(.tls())
      #expect(try client.exchange("GET /file?path=\(path) HTTP/1.1\r\nHost: a\r\n\r\n").body == bytes)
      #expect(try client.exchange(Self.request).status == 200)
    }

    @Test func streamsAndWaits() throws {
      let server = try server()
      let client = try server.client(.tls())
      try client.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(try client.responseHead().status == 200)
      let stream = try server.handler.streams(1)[0]
      stream.send(Array("one".utf8))
      #expect(try client.chunks(bytes: 3) == Array("one".utf8))
      stream.send(Array("two".utf8))
      stream.finish()
      #expect(try client.chunks(bytes: 3) == Array("two".utf8))
      #expect(try client.chunk().isEmpty)
      try client.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n")
      try server.handler.responders(1)[0].complete(TestHandler.text("late"))
      #expect(try client.response().text == "late")
    }

    @Test func aClientThatLeavesEndsItsRequest() throws {
      let server = try server()
      let client = try server.client(.tls())
      try client.send("GET /watched/gone HTTP/1.1\r\nHost: a\r\n\r\n")
      let request = try server.handler.responders(1)[0]
      client.close()
      #expect(try server.handler.left(1) == ["gone"])
      request.complete(TestHandler.text("late"))
    }

    /// A handshake is part of the time that a client has for its first request.
    @Test func aHandshakeThatDoesNotEndIsCutOff() throws {
      let server = try server { $0.requestDeadline = 1 }
      let client = try server.client()
      // The first bytes of a record of 512 bytes.
      try client.send([0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3])
      #expect(try client.rest().isEmpty)
      #expect(try server.client(.tls()).exchange(Self.request).status == 200)
    }

    /// Half-open handshakes make room like any idle connection.
    @Test func handshakesThatDoNotEndAreBounded() throws {
      let load = HTTPLoad(connectionLimit: 4)
      let server = try server {
        $0.load = load
        $0.threads = 1
      }
      let idle = try (0..<300).map { _ in try server.client() }
      #expect(try server.client(.tls()).exchange("GET /essential HTTP/1.1\r\nHost: a\r\n\r\n").status == 200)
      #expect(load.connections <= 4 + 2 * ServerThread.reserve)
      withExtendedLifetime(idle) {}
    }

    // MARK: Certificates

    /// New connections get the new pair; those that are there go on.
    @Test func anotherCertificateWithoutLosingAConnection() throws {
      let server = try server()
      let kept = try server.client(.tls())
      #expect(try kept.exchange(Self.request).status == 200)
      for _ in 0..<10 {
        server.server.use(try certificates.server())
        #expect(try server.client(.tls()).exchange(Self.request).status == 200)
        #expect(try kept.exchange(Self.request).status == 200)
      }
    }

    @Test(arguments: ["NORMAL:-VERS-ALL:+VERS-TLS1.2", "NORMAL:-VERS-ALL:+VERS-TLS1.3"])
    func clientsProveTheirSubject(_ priorities: String) throws {
      let server = try server(clientAuthority: certificates.authority())
      let credentials = try certificates.client("/O=Acme, Inc./CN=build")
      let client = try server.client(.tls(credentials, priorities: priorities))
      for _ in 0..<2 { #expect(try client.exchange(Self.request).status == 200) }
      let proofs = server.handler.requests.map(\.head.proof)
      #expect(proofs == Array(repeating: .certificate(subject: #"CN=build,O=Acme\, Inc."#), count: 2))
      // Without one nothing is proved, and the handler decides.
      #expect(try server.client(.tls(priorities: priorities)).exchange(Self.request).status == 200)
      #expect(server.handler.requests.last?.head.proof == .nothing)
    }

    enum BadClient: CaseIterable { case foreign, ended, server }

    @Test(arguments: BadClient.allCases)
    func badCertificatesOfClientsAreRefused(_ kind: BadClient) throws {
      let server = try server(clientAuthority: certificates.authority())
      let credentials =
        switch kind {
        case .foreign: try certificates.client("/CN=build", by: .foreign)
        case .ended: try certificates.client("/CN=build", days: -1)
        case .server: try certificates.client("/CN=build", for: "serverAuth")
        }
      let client = try server.client(.tls(credentials))
      let response = try client.exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
      #expect(response.status == 401)
      #expect(response.headers["Connection"] == "close")
      #expect(response.text.hasPrefix("the client's certificate is not accepted: "))
      #expect(try client.rest().isEmpty)
      #expect(server.handler.requests.isEmpty)
    }

    /// Where clients are not asked for a certificate, one that has none to show is like any other.
    @Test func withoutAnAuthorityNobodyIsAsked() throws {
      let server = try server()
      let credentials = try certificates.client("/CN=build", by: .foreign)
      #expect(try server.client(.tls(credentials)).exchange(Self.request).status == 200)
      #expect(server.handler.requests[0].head.proof == .nothing)
    }
  }

  @Suite struct TLSCredentialsTests {
    private let certificates = TestCertificates.shared

    @Test func facts() throws {
      let pair = try certificates.pair(days: 3)
      let credentials = try TLSCredentials(certificate: pair.certificate, key: pair.key)
      #expect(abs(credentials.validUntil - Int64(time(nil)) - 3 * 86_400) < 120)
      #expect(credentials.validFrom <= Int64(time(nil)))
      #expect(!credentials.asksForCertificates)
      // Of a chain, the first to end counts.
      let chain = pair.certificate + (try certificates.authority())
      let whole = try TLSCredentials(
        certificate: chain, key: pair.key, clientAuthority: try certificates.authority(.foreign))
      #expect(whole.validUntil < credentials.validUntil)
      #expect(whole.asksForCertificates)
    }

    @Test func mistakes() throws {
      let (one, other) = (try certificates.pair(), try certificates.pair())
      func failure(_ certificate: [UInt8], _ key: [UInt8], _ authority: [UInt8]? = nil) -> TLSCredentialsError? {
        #expect(throws: TLSCredentialsError.self) {
          _ = try TLSCredentials(certificate: certificate, key: key, clientAuthority: authority)
        }
      }
      #expect(failure(one.certificate, other.key) == .mismatch)
      guard case .certificate = failure(one.key, one.key), case .certificate = failure([], one.key),
        case .key = failure(one.certificate, one.certificate), case .key = failure(one.certificate, []),
        case .clientAuthority = failure(one.certificate, one.key, []),
        case .clientAuthority = failure(one.certificate, one.key, one.key)
      else { return #expect(Bool(false), "another mistake is reported") }
    }

    /// What is cut is refused; what is damaged is refused, or the damage does not touch what the server needs.
    @Test func damagedTextsNeverCrash() throws {
      let pair = try certificates.pair()
      var generator = SeededGenerator(seed: 0x715)
      for _ in 0..<300 {
        let (certificate, key) = (cut(pair.certificate), cut(pair.key))
        #expect(throws: TLSCredentialsError.self) { try TLSCredentials(certificate: certificate, key: pair.key) }
        #expect(throws: TLSCredentialsError.self) { try TLSCredentials(certificate: pair.certificate, key: key) }
      }
      for _ in 0..<1000 {
        let (certificate, authority) = (damaged(pair.certificate), damaged(pair.certificate))
        _ = try? TLSCredentials(certificate: certificate, key: pair.key, clientAuthority: authority)
        _ = try? TLSCredentials(certificate: pair.certificate, key: damaged(pair.key))
      }
      /// GnuTLS does without the last dashes.
      func cut(_ text: [UInt8]) -> [UInt8] {
        Array(text.prefix(Int.random(in: 0..<text.count - 30, using: &generator)))
      }
      func damaged(_ text: [UInt8]) -> [UInt8] {
        var text = text
        for _ in 0..<Int.random(in: 1...4, using: &generator) {
          let index = Int.random(in: text.indices, using: &generator)
          text[index] ^= UInt8(1) << UInt8.random(in: 0...7, using: &generator)
        }
        return text
      }
    }
  }
}
