import APIClient
import Testing

@Suite struct EndpointTests {
  @Test(arguments: [
    ("http://localhost:8080", Endpoint.tcp(host: "localhost", port: 8080)),
    ("http://localhost:8080/", .tcp(host: "localhost", port: 8080)),
    ("http://example.test", .tcp(host: "example.test", port: 80)),
    ("http://[::1]", .tcp(host: "::1", port: 80)),
    ("10.0.0.1:1", .tcp(host: "10.0.0.1", port: 1)),
    ("a-b_c.d:65535", .tcp(host: "a-b_c.d", port: 65535)),
    ("[fe80::1]:80", .tcp(host: "fe80::1", port: 80)),
    ("https://host:8443", .tls(host: "host", port: 8443)),
    ("https://[::1]", .tls(host: "::1", port: 443)),
    ("unix:/run/vmpool.sock", .unix(path: "/run/vmpool.sock")),
    ("unix:/with space:8080", .unix(path: "/with space:8080")),
  ])
  func parses(text: String, endpoint: Endpoint) throws {
    let parsed = try Endpoint(text)
    #expect(parsed == endpoint)
    #expect(try Endpoint(parsed.description) == endpoint)
  }

  @Test(arguments: [
    ("", EndpointError.host("")),
    ("localhost", .port("localhost")),
    ("localhost:", .port("localhost:")),
    ("localhost:0", .port("localhost:0")),
    ("localhost:65536", .port("localhost:65536")),
    ("localhost:+80", .port("localhost:+80")),
    ("localhost:８０", .port("localhost:８０")),
    ("[::1]", .port("[::1]")),
    (":8080", .host(":8080")),
    ("::1:8080", .port("::1:8080")),
    ("[::1:8080", .host("[::1:8080")),
    ("[localhost]:80", .host("[localhost]:80")),
    ("http://user@host:80", .user("http://user@host:80")),
    ("host:99999999999999999999", .port("host:99999999999999999999")),
    ("http://:secret@host:80", .user("http://:secret@host:80")),
    ("[fe80::1%25eth0]:80", .host("[fe80::1%25eth0]:80")),
    ("hôst:80", .host("hôst:80")),
    ("host:80\0.example", .host("host:80\0.example")),
    ("ho%20st:80", .host("ho%20st:80")),
    ("ho%00st:80", .host("ho%00st:80")),
    ("ho\nst:80", .host("ho\nst:80")),
    ("http://host:80/v1", .path("http://host:80/v1")),
    ("http://host/v1", .path("http://host/v1")),
    ("http://host:80/?a", .path("http://host:80/?a")),
    ("http://host:80#a", .path("http://host:80#a")),
    ("host:80/..", .path("host:80/..")),
    ("ho st:80", .host("ho st:80")),
    ("http+unix://host:1", .scheme("http+unix://host:1")),
    ("ftp://host:21", .scheme("ftp://host:21")),
    ("unix:", .socketPath("unix:")),
    ("unix:relative", .socketPath("unix:relative")),
    ("unix:/a\0b", .socketPath("unix:/a\0b")),
  ])
  func refuses(text: String, error: EndpointError) {
    #expect(throws: error) { try Endpoint(text) }
  }

  @Test(arguments: [
    "http://user:secret@host:80", "user:secret@host:80", "https://user:secret@host", "http://user:secret@host",
    "http://user:se/secret@cret@host:80", "user:secret@host:0", "http://user:secret@ho st", "ftp://a@b:secret@host:1",
  ])
  func showsNoPassword(text: String) throws {
    let error = #expect(throws: EndpointError.self) { try Endpoint(text) }
    let shown = try #require(error).description
    #expect(!shown.contains("secret") && !shown.contains("user:") && shown.contains("***@"), "\(shown)")
  }

  @Test func refusesASocketPathThatDoesNotFit() throws {
    #expect(try Endpoint("unix:/" + String(repeating: "a", count: 106)) != .unix(path: "/"))
    #expect(throws: EndpointError.self) { try Endpoint("unix:/" + String(repeating: "a", count: 107)) }
  }
}
