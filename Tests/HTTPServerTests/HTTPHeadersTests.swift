import Testing

@testable import HTTPServer

@Suite struct HTTPHeadersTests {
  private let headers = HTTPHeaders([("Accept", "a"), ("X-B", ""), ("accept", "c"), ("Accep", "d"), ("X-É", "é")])

  @Test func lookupIgnoresCaseAndKeepsOrder() {
    #expect(headers["ACCEPT"] == "a")
    #expect(headers.all("aCCept") == ["a", "c"])
    #expect(headers["x-b"] == "")
    #expect(headers["X-C"] == nil)
    #expect(headers.all("X-C").isEmpty)
    #expect(headers.pairs.map(\.name) == ["Accept", "X-B", "accept", "Accep", "X-É"])
    #expect(headers.pairs.map(\.value) == ["a", "", "c", "d", "é"])
    #expect(HTTPHeaders()["a"] == nil)
  }

  /// RFC 9110, 5.3.
  @Test func theLinesOfAListAreJoined() {
    let headers = HTTPHeaders([("If-Match", "\"a\", \"b\""), ("X", "1"), ("if-match", "\"c\""), ("IF-MATCH", "")])
    #expect(headers.list("If-Match") == "\"a\", \"b\", \"c\", ")
    #expect(headers.list("x") == "1")
    #expect(headers.list("Y") == nil)
  }

  /// Only letters have two cases: `@` and the backtick are one bit apart as well.
  @Test func lookupDoesNotConfuseOtherOctets() {
    #expect(HTTPHeaders([("a`b", "1")])["A@B"] == nil)
    #expect(HTTPHeaders([("a^b", "1")])["a~b"] == nil)
  }

  @Test func tokensAreThoseOfTheStandard() {
    let allowed = Set("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".utf8)
    for byte in UInt8.min...UInt8.max { #expect(ASCII.isToken(byte) == allowed.contains(byte)) }
  }
}
