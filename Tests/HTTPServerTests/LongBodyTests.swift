import Foundation
import Glibc
import LinuxSupport
import TestSupport
import Testing
import ThreadSanitizerSupport

@testable import HTTPServer

extension HTTPServerTests {
  /// Bodies that are handed over as they come, and files that are sent as they are taken.
  @Suite struct LongBodies {
    private let piece = (0..<(64 << 10)).map { UInt8(truncatingIfNeeded: $0 * 31 + 7) }

    private func sum(_ pieces: Int) -> UInt64 { UInt64(pieces) * piece.reduce(0) { $0 + UInt64($1) } }

    @Test(arguments: [false, true]) func aBodyGoesToItsSinkWhateverItsLength(isChunked: Bool) throws {
      let server = try TestServer()
      let client = try server.client()
      let length = isChunked ? "Transfer-Encoding: chunked" : "Content-Length: \(64 * piece.count)"
      try client.send("PUT /sink HTTP/1.1\r\nHost: a\r\n\(length)\r\n\r\n")
      for _ in 0..<64 {
        if isChunked { try client.send("\(String(piece.count, radix: 16))\r\n") }
        try client.send(piece)
        if isChunked { try client.send("\r\n") }
      }
      if isChunked { try client.send("0\r\n\r\n") }
      #expect(try client.response().text == "\(64 * piece.count) \(sum(64))")
      let request = try #require(server.handler.requests.first)
      #expect(request.body.isEmpty)
      // The connection goes on.
      #expect(try client.exchange("PUT /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").text == "0 0")
    }

    /// The connection's only thread serves others while the sink waits for its disk, and no more is taken than is kept.
    @Test(arguments: [false, true]) func aSinkMayBlock(isChunked: Bool) throws {
      let server = try TestServer {
        ($0.threads, $0.requestDeadline) = (1, 1)
      }
      let client = try server.client()
      let handed = Handed(value: client)
      let length = isChunked ? "Transfer-Encoding: chunked" : "Content-Length: \(128 * piece.count)"
      let sender = try OwnThread { [piece] in
        try? handed.value.send("PUT /sink/slow-disk HTTP/1.1\r\nHost: a\r\n\(length)\r\n\r\n")
        for _ in 0..<128 {
          if isChunked { try? handed.value.send("\(String(piece.count, radix: 16))\r\n") }
          try? handed.value.send(piece)
          if isChunked { try? handed.value.send("\r\n") }
        }
        if isChunked { try? handed.value.send("0\r\n\r\n") }
      }
      let release = try server.handler.blocked()
      // Longer than the deadline, which is not for the server's own disk.
      let end = MonotonicClock.now() + 2_500_000_000
      while MonotonicClock.now() < end {
        #expect(try server.client().exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status == 200)
      }
      release.give()
      sender.join()
      #expect(try client.response().text == "\(128 * piece.count) \(sum(128))")
    }

    /// Where the system gives no thread for the disk, the connection's own does the work. In a process of its own, whose
    /// address space is full: no thread's stack fits into it.
    @Test(.disabled(if: is_thread_sanitizer(), "the sanitizer needs the address space"))
    func aBodyGoesToItsSinkWithoutAThreadForIt() async {
      await #expect(processExitsWith: .success) {
        let server = try TestServer()
        let client = try server.client()
        // The memory of a connection is mapped before the limit is in force.
        #expect(try client.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status == 200)
        let pages = try contents(of: "/proc/self/statm").split(separator: " ").first.flatMap { rlim_t($0) }
        let room = try #require(pages) * 4096 + 128 << 10
        var limit = rlimit(rlim_cur: room, rlim_max: room)
        // Safe: a local that outlives the call.
        try #require(unsafe setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0)
        let pool = WorkerPool(name: "none", threads: 1, queueLimit: 1)
        #expect(throws: WorkerPool.Refusal.noThread) { try pool.submit {} }
        let request = "PUT /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
        #expect(try client.exchange(request).text == "3 294")
      }
    }

    @Test func stoppingWhileASinkBlocks() throws {
      let server = try TestServer()
      let client = try server.client()
      try client.send("PUT /sink/slow-disk HTTP/1.1\r\nHost: a\r\nContent-Length: \(64 * piece.count)\r\n\r\n")
      let handed = Handed(value: client)
      let sender = try OwnThread { [piece] in while (try? handed.value.send(piece)) != nil {} }
      let release = try server.handler.blocked()
      let service = server.server
      let stopper = try OwnThread { service.stop() }
      // The connection ends, though the sink's thread is still held.
      sender.join()
      #expect(try server.handler.records(1)[0].aborted)
      release.give()
      stopper.join()
    }

    @Test func aSinkThatHasEnoughAnswersInTheMiddle() throws {
      let server = try TestServer()
      let client = try server.client()
      try client.send("PUT /sink/full HTTP/1.1\r\nHost: a\r\nContent-Length: \(64 * piece.count)\r\n\r\n")
      for _ in 0..<2 { try client.send(piece) }
      let response = try client.response()
      #expect(response.status == 507)
      #expect(response.headers["Connection"] == "close")
      #expect(try server.handler.left(1) == ["the sink of full"])
      // Whoever looks at the answer only after the whole body gets it, too.
      for _ in 2..<64 { try client.send(piece) }
      #expect(try client.rest().isEmpty)
      let record = try server.handler.records(1)[0]
      #expect(record.status == 507)
      #expect(!record.aborted)
      #expect(server.handler.requests.isEmpty)
    }

    @Test(arguments: [false, true]) func aSinkIsLetGoOfWhenItsClientLeaves(byReset: Bool) throws {
      let server = try TestServer()
      let client = try server.client()
      try client.send("PUT /sink/left HTTP/1.1\r\nHost: a\r\nContent-Length: \(64 * piece.count)\r\n\r\n")
      try client.send(piece)
      // A reset takes along what the server has not read yet.
      #expect(try server.handler.left(1) == ["it came to left"])
      if byReset { client.reset() } else { client.close() }
      #expect(try server.handler.left(2).last == "the sink of left")
      #expect(try server.handler.records(1)[0].aborted)
      #expect(server.handler.requests.isEmpty)
    }

    @Test func theDeadlineOfALongBodyBeginsAnewWithItsProgress() throws {
      let server = try TestServer { $0.requestDeadline = 1 }
      let client = try server.client()
      let pieces = 28
      try client.send("PUT /sink HTTP/1.1\r\nHost: a\r\nContent-Length: \(pieces * piece.count)\r\n\r\n")
      // Four pieces are progress; all of them take more than twice the deadline.
      for _ in 0..<pieces {
        try client.send(piece)
        usleep(90_000)
      }
      #expect(try client.response().text == "\(pieces * piece.count) \(sum(pieces))")
    }

    @Test func aLongBodyWithoutProgressGets408() throws {
      let server = try TestServer { $0.requestDeadline = 1 }
      let client = try server.client()
      try client.send("PUT /sink/slow HTTP/1.1\r\nHost: a\r\nContent-Length: \(64 * piece.count)\r\n\r\n")
      for _ in 0..<3 { try client.send(piece) }
      #expect(try client.response().status == 408)
      #expect(try server.handler.left(1) == ["the sink of slow"])
    }

    /// Its verdict cannot be lost in a reset, however long the body is that nobody wants.
    @Test func aBodyThatNobodyWantsIsThrownAway() throws {
      let server = try TestServer()
      let client = try server.client()
      try client.send("PUT /denied HTTP/1.1\r\nHost: a\r\nContent-Length: \(128 * piece.count)\r\n\r\n")
      for _ in 0..<128 { try client.send(piece) }
      #expect(try client.response().status == 401)
    }

    // MARK: Files

    private func file(_ pieces: Int) throws -> (path: String, bytes: [UInt8], directory: ScratchDirectory) {
      let directory = try ScratchDirectory()
      let path = directory.path + "/file"
      let bytes = [[UInt8]](repeating: piece, count: pieces).flatMap(\.self) + [1, 2, 3]
      try Data(bytes).write(to: URL(filePath: path))
      return (path, bytes, directory)
    }

    @Test func aFileIsSent() throws {
      let server = try TestServer()
      let client = try server.client()
      let (path, bytes, directory) = try file(64)
      defer { withExtendedLifetime(directory) {} }
      let response = try client.exchange("GET /file?path=\(path) HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(response.headers["Content-Length"] == "\(bytes.count)")
      #expect(response.body == bytes)
      try client.send("HEAD /file?path=\(path) HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(try client.response(head: true).headers["Content-Length"] == "\(bytes.count)")
      #expect(try client.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n").text == "plain")
      #expect(try server.handler.records(3).map(\.bytesSent) == [bytes.count, 0, 5])
    }

    @Test func aFileThatBecameShorterIsCut() throws {
      let server = try TestServer()
      let (path, bytes, directory) = try file(256)
      defer { withExtendedLifetime(directory) {} }
      let client = try server.client()
      try client.send("GET /file?path=\(path) HTTP/1.1\r\nHost: a\r\n\r\n")
      #expect(try client.responseHead().headers["Content-Length"] == "\(bytes.count)")
      // The kernel's buffers do not hold it all.
      try FileHandle(forWritingTo: URL(filePath: path)).truncate(atOffset: 10)
      #expect(try client.rest().count < bytes.count)
      #expect(try server.handler.records(1)[0].aborted)
    }

    /// 256 KiB a deadline are enough, whatever the kernel's buffers swallow at once, and however small the pieces.
    @Test(arguments: [false, true]) func aFileThatMovesIsNotCut(overUnixSocket isUnix: Bool) throws {
      let place = try ScratchDirectory()
      let address = isUnix ? ListenAddress.unix(path: place.path + "/s") : .tcp(host: "127.0.0.1", port: 0)
      let server = try TestServer([address]) { ($0.requestDeadline, $0.inactivityTimeout) = (1, 1) }
      let (path, bytes, directory) = try file(256)
      defer { withExtendedLifetime((directory, place)) {} }
      let client = try server.client()
      try client.send("GET /file?path=\(path) HTTP/1.1\r\nHost: a\r\n\r\n")
      _ = try client.responseHead()
      // Twice what is asked for, since a busy machine delays both sides.
      for _ in 0..<120 {
        try client.skip(32 << 10)
        usleep(50_000)
      }
      try client.skip(bytes.count - 120 * (32 << 10))
      #expect(try client.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n").text == "plain")
    }

    /// Whatever an answer is made of.
    @Test(arguments: ["big", "long-stream"]) func anAnswerThatMovesIsNotCut(_ path: String) throws {
      let server = try TestServer { ($0.requestDeadline, $0.inactivityTimeout) = (1, 1) }
      let client = try server.client(receiving: 16 << 10)
      try client.send("GET /\(path) HTTP/1.1\r\nHost: a\r\n\r\n")
      _ = try client.responseHead()
      for _ in 0..<100 {
        try client.skip(32 << 10)
        usleep(50_000)
      }
      try client.skip((8 << 20) - 100 * (32 << 10))
    }

    /// Twice as much as the deadline asks for, in a body that is collected.
    @Test func aBodyThatMovesIsNotCut() throws {
      let server = try TestServer { $0.requestDeadline = 1 }
      let client = try server.client()
      let count = 32 << 10
      try client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: \(30 * count)\r\n\r\n")
      for _ in 0..<30 {
        try client.send(Array(piece.prefix(count)))
        usleep(50_000)
      }
      #expect(try client.response().body.count == 30 * count)
    }
  }
}
