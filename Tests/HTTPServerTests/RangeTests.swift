import Foundation
import LinuxSupport
import TestSupport
import Testing

@testable import HTTPServer

extension HTTPServerTests {
  /// RFC 9110, 14.
  @Suite struct Ranges {
    @Test(
      arguments: [
        ("bytes=0-0", .part(0..<1)), ("bytes=0-", .part(0..<100)), ("bytes=10-19", .part(10..<20)),
        ("bytes=99-99", .part(99..<100)), ("bytes=50-1000", .part(50..<100)), ("Bytes=1-2", .part(1..<3)),
        ("bytes=-1", .part(99..<100)), ("bytes=-100", .part(0..<100)), ("bytes=-1000", .part(0..<100)),
        ("bytes=0-99999999999999999999", .part(0..<100)), ("bytes=-99999999999999999999", .part(0..<100)),
        ("bytes=100-", .none), ("bytes=100-100", .none), ("bytes=-0", .none), ("bytes=99999999999999999999-", .none),
        ("bytes=2-1", .whole), ("bytes=", .whole), ("bytes=-", .whole), ("bytes=a-b", .whole), ("bytes=1", .whole),
        ("bytes=0-1,3-4", .whole), ("bytes= 0-1", .whole), ("bytes=+0-1", .whole), ("items=0-1", .whole),
        ("bytes 0-1", .whole), ("", .whole), ("bytes=0x1-2", .whole), ("bytes=--1", .whole),
      ] as [(String, ByteRange)])
    func rangesOfAHundredBytes(_ text: String, _ wanted: ByteRange) {
      #expect(ByteRange(text, of: 100) == wanted)
    }

    @Test(arguments: ["bytes=0-", "bytes=-1", "bytes=0-0"]) func nothingHasNoRange(_ text: String) {
      #expect(ByteRange(text, of: 0) == .none)
    }

    private let bytes = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 * 31 + $0 >> 8) }

    private func exchange(_ fields: String, method: String = "GET") throws -> RawClient.Response {
      let directory = try ScratchDirectory()
      let path = directory.path + "/file"
      try Data(bytes).write(to: URL(filePath: path))
      let server = try TestServer()
      let client = try server.client()
      try client.send("\(method) /tagged?path=\(path) HTTP/1.1\r\nHost: a\r\n\(fields)\r\n")
      let response = try client.response(head: method == "HEAD")
      #expect(response.headers["ETag"] == "\"t\"")
      #expect(response.headers["Accept-Ranges"] == "bytes")
      // Nothing is left of it.
      #expect(try client.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n").text == "plain")
      #expect(try server.handler.records(2)[0].bytesSent == response.body.count)
      return response
    }

    @Test(arguments: [0..<1, 1..<300_000, 100_000..<250_001, 299_999..<300_000])
    func aPartIsSent(_ range: Range<Int>) throws {
      let response = try exchange("Range: bytes=\(range.lowerBound)-\(range.upperBound - 1)\r\nIf-Range: \"t\"\r\n")
      #expect(response.status == 206)
      #expect(response.headers["Content-Range"] == "bytes \(range.lowerBound)-\(range.upperBound - 1)/300000")
      #expect(response.headers["Content-Length"] == "\(range.count)")
      #expect(response.body == Array(bytes[range]))
    }

    @Test func whatLiesBehindTheEndIsRefused() throws {
      let response = try exchange("Range: bytes=300000-\r\n")
      #expect(response.status == 416)
      #expect(response.headers["Content-Range"] == "bytes */300000")
      #expect(response.body.isEmpty)
    }

    @Test(arguments: [
      "", "Range: bytes=5-1\r\n", "Range: bytes=0-1, 3-4\r\n", "Range: bytes=0-1\r\nIf-Range: \"other\"\r\n",
      "Range: bytes=0-1\r\nIf-Range: W/\"t\"\r\n",
      "Range: bytes=0-1\r\nIf-Range: Mon, 30 Nov 2026 00:00:00 GMT\r\n",
    ])
    func everythingIsSent(_ fields: String) throws {
      let response = try exchange(fields)
      #expect(response.status == 200)
      #expect(response.headers["Content-Range"] == nil)
      #expect(response.body == bytes)
    }

    @Test func headHasNoRange() throws {
      let response = try exchange("Range: bytes=0-1\r\n", method: "HEAD")
      #expect(response.status == 200)
      #expect(response.headers["Content-Length"] == "300000")
    }
  }
}
