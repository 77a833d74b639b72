import Glibc
import LinuxSupport
import Synchronization
import TestSupport
import Testing

@testable import HTTPServer

private func get(_ path: String, _ version: String = "1.1") -> String {
  "GET \(path) HTTP/\(version)\r\nHost: a\r\n\r\n"
}

extension HTTPServerTests {
  @Suite struct Streams {
    @Test func piecesArriveAsTheyAreSent() throws {
      let server = try TestServer()
      let client = try server.client()
      for round in 1...3 {
        try client.send(get("/stream"))
        // Nothing has been sent yet: the head comes alone.
        let (status, headers) = try client.responseHead()
        #expect(status == 200)
        #expect(headers["Transfer-Encoding"] == "chunked")
        #expect(headers["Content-Type"] == "text/plain")
        #expect(headers["X-Request-Id"] != nil)
        #expect(headers["Connection"] == nil)
        let stream = try server.handler.streams(1)[0]
        stream.whenClosed(server.handler.noting("\(round)"))
        for piece in 0..<20 {
          #expect(stream.send(Array("piece \(piece)".utf8)))
          #expect(try client.chunk() == Array("piece \(piece)".utf8))
        }
        #expect(stream.send([]))
        stream.finish()
        #expect(!stream.send([1]))
        #expect(try client.chunk() == [])
        #expect(try server.handler.left(round).last == "\(round)")
        let record = try server.handler.records(round)[round - 1]
        #expect(record.status == 200 && !record.aborted && record.label == "a stream")
        #expect(record.bytesSent == 150)
      }
      #expect(server.server.watchedConnections == 0)
    }

    @Test func theBodyComesFirst() throws {
      let server = try TestServer()
      let client = try server.client()
      try client.send(get("/stream/first"))
      _ = try client.responseHead()
      #expect(try client.chunk() == Array("first".utf8))
      try server.handler.streams(1)[0].finish()
      #expect(try client.chunk() == [])
      try client.send(get("/finished-stream"))
      _ = try client.responseHead()
      #expect(try client.chunk() == Array("all".utf8))
      #expect(try client.chunk() == [])
    }

    @Test(arguments: ["HEAD /stream", "HEAD /stream/body", "HEAD /empty-stream", "GET /empty-stream"])
    func headsAlone(_ line: String) throws {
      let server = try TestServer()
      let client = try server.client()
      try client.send("\(line) HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
      let response = try client.response(head: true)
      #expect(response.status == (line.hasSuffix("empty-stream") ? 204 : 200))
      #expect(response.headers["Content-Length"] == nil)
      #expect(response.headers["X-Request-Id"] != nil)
      #expect(try client.rest().isEmpty)
      let record = try server.handler.records(1)[0]
      #expect(!record.aborted && record.bytesSent == 0)
      #expect(server.handler.streamsSoFar == 0)
      #expect(server.server.watchedConnections == 0)
    }

    @Test func headsThatCannotBeSent() throws {
      let server = try TestServer()
      #expect(try server.client().exchange(get("/split-stream")).status == 500)
      #expect(server.handler.streamsSoFar == 0)
    }

    @Test func oldClientsReadUntilTheEnd() throws {
      let server = try TestServer()
      let client = try server.client()
      try client.send(get("/stream/", "1.0"))
      #expect(try client.responseHead().headers["Transfer-Encoding"] == nil)
      let stream = try server.handler.streams(1)[0]
      #expect(stream.send(Array("one".utf8)))
      #expect(stream.send(Array("two".utf8)))
      stream.finish()
      #expect(try client.rest() == Array("onetwo".utf8))
      #expect(try !server.handler.records(1)[0].aborted)
    }

    @Test(arguments: Leaving.allCases) func clientsLeave(_ leave: Leaving) throws {
      let server = try TestServer()
      let client = try server.client()
      try client.send(get("/stream"))
      _ = try client.responseHead()
      let stream = try server.handler.streams(1)[0]
      stream.whenClosed(server.handler.noting("closed"))
      #expect(stream.send(Array("hello".utf8)))
      #expect(try client.chunk() == Array("hello".utf8))
      leave(client)
      #expect(try server.handler.left(1) == ["closed"])
      stream.whenClosed(server.handler.noting("at once"))
      #expect(server.handler.leftSoFar == ["closed", "at once"])
      #expect(!stream.send([1]))
      let record = try server.handler.records(1)[0]
      #expect(record.aborted && record.status == 200 && record.bytesSent == 5)
      #expect(server.server.watchedConnections == 0)
    }

    @Test func slowClientsAreCutOff() throws {
      let server = try TestServer { $0.streamBacklogLimit = 100_000 }
      let client = try server.client()
      try client.send(get("/stream"))
      _ = try client.responseHead()
      let stream = try server.handler.streams(1)[0]
      stream.whenClosed(server.handler.noting("closed"))
      let piece = [UInt8](repeating: 0x61, count: 10_000)
      var sent = 0
      while stream.send(piece), sent < 1000 { sent += 1 }
      #expect(sent >= 10, "as much as the backlog holds must be taken")
      #expect(sent < 1000, "the kernel must not have taken ten megabytes")
      #expect(!stream.send([1]))
      #expect(try server.handler.left(1) == ["closed"])
      #expect(try server.handler.records(1)[0].aborted)
      // Cut, not finished.
      #expect(try !client.rest().suffix(5).elementsEqual(Array("0\r\n\r\n".utf8)))
    }

    /// The connection's thread waits for the client, and is told all the same.
    @Test func clientsThatReadNothingAreCutOff() throws {
      let server = try TestServer {
        $0.streamBacklogLimit = 1000; $0.requestDeadline = 1
      }
      let client = try server.client()
      try client.send(get("/long-stream"))
      let stream = try server.handler.streams(1)[0]
      stream.whenClosed(server.handler.noting("closed"))
      var waiting = -1
      while waiting != stream.transfer.waiting {
        waiting = stream.transfer.waiting
        // For as long as it takes another connection to meet its deadline.
        #expect(try server.client().rest().isEmpty)
      }
      #expect(waiting > 7 << 20)
      #expect(!stream.send([UInt8](repeating: 0, count: 1001)))
      #expect(try server.handler.left(1) == ["closed"])
    }

    @Test func onePieceLargerThanTheBacklogCutsTheStream() throws {
      let server = try TestServer { $0.streamBacklogLimit = 1000 }
      let client = try server.client()
      try client.send(get("/stream"))
      _ = try client.responseHead()
      let stream = try server.handler.streams(1)[0]
      #expect(!stream.send([UInt8](repeating: 0, count: 1001)))
      #expect(try client.rest().isEmpty)
    }

    @Test func theBodyIsNoBacklog() throws {
      let server = try TestServer { $0.streamBacklogLimit = 1000 }
      let client = try server.client()
      try client.send(get("/long-stream"))
      _ = try client.responseHead()
      let stream = try server.handler.streams(1)[0]
      #expect(stream.send([UInt8](repeating: 0x63, count: 1000)))
      let body = try client.chunks(bytes: (8 << 20) + 1000)
      #expect(body.count == (8 << 20) + 1000 && body.suffix(1001).first == 0x62 && body.last == 0x63)
      #expect(stream.send([UInt8](repeating: 0x64, count: 1000)))
      #expect(try client.chunks(bytes: 1000).count == 1000)
    }

    @Test(arguments: [false, true]) func cutStreamsAreIncomplete(_ isDropped: Bool) throws {
      let server = try TestServer()
      let client = try server.client()
      try client.send(get(isDropped ? "/dropped-stream" : "/stream"))
      if !isDropped { try server.handler.streams(1)[0].cut() }
      #expect(try !client.rest().suffix(5).elementsEqual(Array("0\r\n\r\n".utf8)))
      #expect(try server.handler.records(1)[0].aborted)
    }

    @Test func idleStreamsHaveNoDeadline() throws {
      let server = try TestServer {
        $0.requestDeadline = 1; $0.inactivityTimeout = 1
      }
      let client = try server.client()
      try client.send(get("/stream"))
      _ = try client.responseHead()
      let stream = try server.handler.streams(1)[0]
      for _ in 0..<2 {
        // Until another connection has met its deadline, which was set later.
        #expect(try server.client().rest().isEmpty)
        #expect(stream.send(Array("still".utf8)))
        #expect(try client.chunk() == Array("still".utf8))
      }
    }

    @Test func clientsThatStopReadingAreCutOff() throws {
      let server = try TestServer {
        $0.inactivityTimeout = 1; $0.streamBacklogLimit = 64 << 20
      }
      let client = try server.client()
      try client.send(get("/stream"))
      _ = try client.responseHead()
      let stream = try server.handler.streams(1)[0]
      stream.whenClosed(server.handler.noting("closed"))
      #expect(stream.send([UInt8](repeating: 0x61, count: 48 << 20)))
      #expect(try server.handler.left(1) == ["closed"])
      #expect(try server.handler.records(1)[0].aborted)
    }

    /// A reader without bytes that did not suspend would be asked again and again.
    @Test func idleStreamsCostNothing() async {
      await #expect(processExitsWith: .success) {
        let server = try TestServer { $0.requestDeadline = 1 }
        let clients = try (0..<20).map { _ in try server.client() }
        for client in clients {
          try client.send(get("/stream"))
          _ = try client.responseHead()
        }
        let began = (MonotonicClock.now(), Self.processorNS())
        #expect(try server.client().rest().isEmpty)
        let (passed, used) = (MonotonicClock.now() - began.0, Self.processorNS() - began.1)
        #expect(used < passed / 4, "of \(passed) ns it was busy for \(used)")
        withExtendedLifetime(clients) {}
      }
    }

    private static func processorNS() -> UInt64 {
      var time = timespec()
      unsafe clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
      return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    @Test func manySendersAtOnce() throws {
      let server = try TestServer { $0.streamBacklogLimit = 8 << 20 }
      let client = try server.client()
      try client.send(get("/stream"))
      _ = try client.responseHead()
      let stream = try server.handler.streams(1)[0]
      let threads = try (0..<4).map { sender in
        try OwnThread { for _ in 0..<1000 { stream.send([UInt8](repeating: UInt8(sender), count: 100)) } }
      }
      let bytes = try client.chunks(bytes: 400_000)
      for thread in threads { thread.join() }
      for sender in 0..<4 { #expect(bytes.count { $0 == sender } == 100_000) }
      // No piece is torn apart by another.
      #expect(stride(from: 0, to: 400_000, by: 100).allSatisfy { Set(bytes[$0..<($0 + 100)]).count == 1 })
    }

    @Test func stopEndsThem() throws {
      let server = try TestServer()
      let clients = try (0..<10).map { _ in try server.client() }
      for client in clients {
        try client.send(get("/stream"))
        _ = try client.responseHead()
      }
      let streams = try server.handler.streams(10)
      for stream in streams {
        stream.whenClosed(server.handler.noting("closed"))
        #expect(stream.send(Array("last words".utf8)))
      }
      server.server.stop()
      for client in clients {
        #expect(try client.chunk() == Array("last words".utf8))
        #expect(try client.chunk() == [])
        #expect(try client.rest().isEmpty)
      }
      #expect(server.handler.leftSoFar.count == 10)
      #expect(try server.handler.records(10).allSatisfy { !$0.aborted && $0.bytesSent == 10 })
      #expect(streams.allSatisfy { !$0.send([1]) })
    }

    @Test func stopWhileTheyBeginSendAndLeave() throws {
      for _ in 0..<20 {
        let server = try TestServer()
        let clients = try (0..<8).map { _ in try server.client() }
        for client in clients { try client.send(get("/stream")) }
        let streams = try server.handler.streams(1)
        let sender = try OwnThread {
          for stream in streams { while stream.send([UInt8](repeating: 0x61, count: 100)) {} }
        }
        for client in clients.prefix(4) { client.endSending() }
        server.server.stop()
        sender.join()
      }
    }

    @Test func drainingSaysClose() throws {
      let server = try TestServer()
      server.server.beginDraining()
      let client = try server.client()
      try client.send(get("/finished-stream"))
      #expect(try client.responseHead().headers["Connection"] == "close")
      #expect(try client.chunk() == Array("all".utf8))
      #expect(try client.chunk() == [])
      #expect(try client.rest().isEmpty)
    }

    @Test func theyCountAsConnections() throws {
      let load = HTTPLoad(connectionLimit: 2)
      let server = try TestServer {
        ($0.load, $0.threads) = (load, 1)
      }
      let held = try (0..<2).map { _ in try server.client() }
      try held[0].send(get("/stream"))
      try held[1].send(get("/watched/a"))
      let stream = try server.handler.streams(1)[0]
      let responder = try server.handler.responders(1)[0]
      #expect(try server.client().exchange(get("/")).status == 503)
      #expect(stream.send(Array("still".utf8)))
      _ = try held[0].responseHead()
      #expect(try held[0].chunk() == Array("still".utf8))
      #expect(load.streams == 1)
      held[1].close()
      _ = try server.handler.left(1)
      // The refused client and the one that left are gone when the server has closed their connections.
      try waitUntil("both connections are closed") { load.connections <= 1 }
      #expect(try server.client().exchange(get("/")).status == 200)
      withExtendedLifetime(responder) {}
    }
  }
}
