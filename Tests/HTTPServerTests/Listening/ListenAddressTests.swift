import Testing

@testable import HTTPServer

@Suite struct ListenAddressTests {
  @Test(arguments: [
    ("127.0.0.1:8080", ListenAddress.tcp(host: "127.0.0.1", port: 8080)),
    ("0.0.0.0:0", .tcp(host: "0.0.0.0", port: 0)),
    ("[::1]:8080", .tcp(host: "::1", port: 8080)),
    ("localhost:65535", .tcp(host: "localhost", port: 65535)),
    ("unix:/run/vmpool.sock", .unix(path: "/run/vmpool.sock")),
  ])
  func readsAndPrints(_ text: String, _ address: ListenAddress) throws {
    #expect(try ListenAddress(parsing: text) == address)
    #expect(address.description == text)
  }

  @Test(arguments: [
    "", "8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:+1", "127.0.0.1:1x",
    "127.0.0.1:000080", "::1:8080", "[::1]", "[::1:8080", "[127.0.0.1]:80", "[]:80", "a b:80", "*:80", "a/b:80",
    "unix:", "unix:relative", "unix:/a\nb", "unix:/" + String(repeating: "a", count: 107),
  ])
  func refuses(_ text: String) {
    let error = #expect(throws: ListenAddressError.self) { try ListenAddress(parsing: text) }
    #expect(text.isEmpty || error?.description.contains(text) == true)
  }

  @Test(arguments: [
    ("127.0.0.1:1", true), ("127.255.0.9:1", true), ("[::1]:1", true), ("localhost:1", true), ("LocalHost:1", true),
    ("unix:/a", true), ("0.0.0.0:1", false), ("128.0.0.1:1", false), ("[::]:1", false), ("[::2]:1", false),
    ("[::ffff:10.0.0.1]:1", false), ("example.org:1", false), ("127.0.0.1.example.org:1", false),
  ])
  func loopback(_ text: String, _ isLoopback: Bool) throws {
    #expect(try ListenAddress(parsing: text).isLoopback == isLoopback)
  }

  @Test func inheritedLoopbackDependsOnTheSocket() throws {
    let local = try ListenSocket.listening(on: .tcp(host: "127.0.0.1", port: 0))
    let open = try ListenSocket.listening(on: .tcp(host: "0.0.0.0", port: 0))
    #expect(ListenAddress.inherited(fd: local.descriptor).isLoopback)
    #expect(!ListenAddress.inherited(fd: open.descriptor).isLoopback)
    #expect(!ListenAddress.inherited(fd: 99_999).isLoopback)
  }
}
