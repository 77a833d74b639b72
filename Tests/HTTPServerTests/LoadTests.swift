import Glibc
import LinuxSupport
import Synchronization
import TestSupport
import Testing

@testable import HTTPServer

private let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

extension HTTPServerTests {
  @Suite struct Load {
    @Test func twoHundredConnectionsAtOnce() throws {
      let server = try TestServer()
      let clients = try (0..<200).map { _ in try server.client() }
      for round in 0..<5 {
        for (index, client) in clients.enumerated() {
          let body = "\(round)/\(index)"
          try client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
        }
        for (index, client) in clients.enumerated() { #expect(try client.response().text == "\(round)/\(index)") }
      }
      #expect(try server.handler.records(1000).allSatisfy { $0.status == 200 && !$0.aborted })
    }

    @Test func twoHundredSuspendedAtOnce() throws {
      let server = try TestServer()
      let clients = try (0..<200).map { _ in try server.client() }
      for client in clients { try client.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n") }
      let responders = try server.handler.responders(200)
      let threads = try (0..<4).map { part in
        try OwnThread {
          for index in stride(from: part, to: 200, by: 4) { responders[index].complete(TestHandler.text("done")) }
        }
      }
      for client in clients { #expect(try client.response().text == "done") }
      for thread in threads { thread.join() }
    }

    /// In a process of its own: nobody else opens sockets there.
    @Test func socketsAreGivenBack() async {
      await #expect(processExitsWith: .success) {
        let server = try TestServer()
        let before = try Self.sockets()
        for round in 0..<100 {
          // Well-behaved, refused, cut off in a body, gone while suspended, never said a word.
          #expect(try server.client().exchange(get).status == 200)
          #expect(try server.client().exchange("GET / HTTP/1.1\r\n\r\n").status == 400)
          try server.client().send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
          try server.client().send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n")
          for responder in try server.handler.responders(1) { responder.complete(TestHandler.text("\(round)")) }
          _ = try server.client()
        }
        #expect(try server.handler.records(400).count == 400)
        // The server closes a socket after its last word about it: there is nothing to wait for but the number itself.
        let end = MonotonicClock.now() + 10_000_000_000
        while try Self.sockets() != before, MonotonicClock.now() < end {}
        #expect(try Self.sockets() == before)
        server.server.stop()
        // Each of two threads had a duplicate of the listening socket.
        #expect(try Self.sockets() == before - 2)
      }
    }

    /// In a process of its own, too. Streams and watched requests, left in every way there is.
    @Test func thoseWhoLeaveLeaveNothingBehind() async {
      await #expect(processExitsWith: .success) {
        let server = try TestServer()
        let before = try Self.sockets()
        var leftovers: [Leftover] = []
        for round in 1...1000 {
          let (reader, waiter) = (try server.client(), try server.client())
          try reader.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
          try waiter.send("GET /watched/a HTTP/1.1\r\nHost: a\r\n\r\n")
          let stream = try server.handler.streams(1)[0]
          stream.whenClosed(server.handler.noting("stream"))
          #expect(stream.send(Array("\(round)".utf8)))
          let responder = try server.handler.responders(1)[0]
          leftovers = leftovers.filter { $0.object != nil } + [Leftover(stream.transfer), Leftover(responder)]
          Leaving.allCases[round % 3](reader)
          Leaving.allCases[round / 3 % 3](waiter)
          #expect(try server.handler.left(2 * round).count == 2 * round)
        }
        #expect(try server.handler.records(2000).allSatisfy(\.aborted))
        let end = MonotonicClock.now() + 10_000_000_000
        while try Self.sockets() != before || leftovers.contains(where: { $0.object != nil }),
          MonotonicClock.now() < end
        {}
        #expect(try Self.sockets() == before)
        #expect(leftovers.allSatisfy { $0.object == nil })
        #expect(server.server.watchedConnections == 0)
      }
    }

    private struct Leftover {
      private(set) weak var object: AnyObject?
      init(_ object: AnyObject) { self.object = object }
    }

    /// Each start makes ten descriptors or so; what the process opens besides is less than one for each of them.
    @Test func descriptorsAreGivenBackByStop() async {
      await #expect(processExitsWith: .success) {
        let before = try Self.entries(of: "/proc/self/fd").count
        for _ in 0..<50 {
          let server = try TestServer()
          #expect(try server.client().exchange(get).status == 200)
        }
        #expect(try Self.entries(of: "/proc/self/fd").count < before + 50)
      }
    }

    /// libmicrohttpd takes 128 events at once and, having got just as many, waits for one more before it looks at them.
    @Test(arguments: [127, 128, 129, 256])
    func asManyEventsAsFitAtOnce(_ count: Int) throws {
      let server = try TestServer { $0.threads = 1 }
      let blocker = try server.client()
      let clients = try (0..<count).map { _ in try server.client() }
      for client in clients { #expect(try client.exchange(get).status == 200) }
      // Everything is sent while the only thread is in the handler's hands.
      try blocker.send("GET /block HTTP/1.1\r\nHost: a\r\n\r\n")
      let release = try server.handler.blocked()
      for client in clients { try client.send(get) }
      release.give()
      for client in clients { #expect(try client.response().status == 200) }
    }

    @Test func threadsBlockAllSignals() throws {
      let server = try TestServer()
      for _ in 0..<8 {
        let status = try server.client().exchange("GET /thread HTTP/1.1\r\nHost: a\r\n\r\n").text
        // All 64 but SIGKILL, SIGSTOP and the two that the C library keeps to itself.
        #expect(status.contains("SigBlk:\tfffffffe7ffbfeff\n"))
      }
      #expect(try !contents(of: "/proc/thread-self/status").contains("SigBlk:\tfffffffe7ffbfeff\n"))
    }

    private static func sockets() throws -> Int {
      try entries(of: "/proc/self/fd").count { name in
        var status = stat()
        return unsafe stat("/proc/self/fd/\(name)", &status) == 0 && status.st_mode & S_IFMT == S_IFSOCK
      }
    }

    private static func entries(of directory: String) throws -> [String] {
      guard let stream = unsafe opendir(directory) else { throw RawClient.Failure(description: "no \(directory)") }
      defer { unsafe closedir(stream) }
      var names: [String] = []
      while let entry = unsafe readdir(stream) {
        let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
          unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
        }
        if name != ".", name != ".." { names.append(name) }
      }
      return names
    }
  }
}
