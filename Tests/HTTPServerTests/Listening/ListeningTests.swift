import Glibc
import TestSupport
import Testing

@testable import HTTPServer

private let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

extension HTTPServerTests {
  @Suite struct Listening {
    @Test func unixSocket() throws {
      let directory = try ScratchDirectory()
      let path = directory.path + "/s"
      let server = try TestServer([.unix(path: path)])
      #expect(server.server.boundAddresses == [.unix(path: path)])
      #expect(try server.client().exchange(get).status == 200)
      #expect(server.handler.requests[0].head.peer == "unix")
      var status = stat()
      unsafe stat(path, &status)
      #expect(status.st_mode == S_IFSOCK | 0o660)
      server.server.stop()
      #expect(unsafe access(path, F_OK) != 0)
    }

    /// What becomes of a client whose machine has gone without a word, the kernel finds out.
    @Test func connectionsAreKeptWatchOver() throws {
      let server = try TestServer()
      let client = try server.client()
      #expect(try client.exchange(get).status == 200)
      guard case .tcp(_, let port) = server.server.boundAddresses[0] else { return }
      let accepted = (Int32(0)..<1024).filter { fd in
        guard case .ip(_, port)? = unsafe SocketName(of: fd, with: getsockname) else { return false }
        return unsafe SocketName(of: fd, with: getpeername) != nil
      }
      #expect(accepted.count == 1)
      for (level, name, wanted) in [
        (SOL_SOCKET, SO_KEEPALIVE, 1), (Int32(IPPROTO_TCP), TCP_KEEPIDLE, 30), (Int32(IPPROTO_TCP), TCP_KEEPINTVL, 10),
        (Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, 60_000),
      ] as [(Int32, Int32, Int32)] {
        var value: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        #expect(unsafe getsockopt(accepted.first ?? -1, level, name, &value, &size) == 0)
        #expect(value == wanted)
      }
    }

    @Test func staleUnixSocketsAreReplacedLiveOnesAreNot() throws {
      let directory = try ScratchDirectory()
      let path = directory.path + "/s"
      let stale = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
      #expect(unsafe withUnixAddress(path, { unsafe bind(stale, $0, $1) }) == 0)
      close(stale)
      let server = try TestServer([.unix(path: path)])
      #expect(throws: HTTPServerError.addressInUse(.unix(path: path))) { try TestServer([.unix(path: path)]) }
      #expect(try server.client().exchange(get).status == 200)
    }

    @Test func otherFilesAreLeftAlone() throws {
      let directory = try ScratchDirectory()
      let path = directory.path + "/file"
      close(unsafe creat(path, 0o600))
      #expect(throws: HTTPServerError.notASocket(path: path)) { try TestServer([.unix(path: path)]) }
      #expect(unsafe access(path, F_OK) == 0)
    }

    @Test func aSuccessorsSocketIsNotRemoved() throws {
      let directory = try ScratchDirectory()
      let (path, other) = (directory.path + "/s", directory.path + "/t")
      let server = try TestServer([.unix(path: path)])
      // The successor's file exists before the old one goes, so that it cannot get its inode.
      let successor = try TestServer([.unix(path: other)])
      #expect(unsafe rename(other, path) == 0)
      server.server.stop()
      #expect(try RawClient(.unix(path: path)).exchange(get).status == 200)
      successor.server.stop()
    }

    @Test func overlongPaths() throws {
      let address = ListenAddress.unix(path: "/tmp/" + String(repeating: "a", count: 200))
      #expect(throws: HTTPServerError.self) { try TestServer([address]) }
    }

    @Test func twoListenersAtOnce() throws {
      let server = try TestServer([.tcp(host: "127.0.0.1", port: 0), .tcp(host: "::1", port: 0)])
      let bound = server.server.boundAddresses
      #expect(bound.count == 2)
      for address in bound {
        guard case .tcp(_, let port) = address else {
          Issue.record("\(address) is not TCP")
          return
        }
        #expect(port != 0)
        #expect(address.isLoopback)
        #expect(try RawClient(address).exchange(get).status == 200)
      }
      #expect(server.handler.requests.map(\.head.peer) == ["127.0.0.1", "::1"])
    }

    @Test func namesAreResolved() throws {
      let server = try TestServer([.tcp(host: "localhost", port: 0)])
      #expect(try server.client().exchange(get).status == 200)
      #expect(throws: HTTPServerError.self) { try TestServer([.tcp(host: "name.invalid", port: 0)]) }
    }

    @Test func addressInUseNamesTheAddressAndReleasesTheRest() throws {
      let first = try TestServer()
      let taken = first.server.boundAddresses[0]
      let directory = try ScratchDirectory()
      let path = directory.path + "/s"
      let error = #expect(throws: HTTPServerError.addressInUse(taken)) {
        try TestServer([.unix(path: path), taken])
      }
      #expect(
        error?.description
          == "address already in use: another process listens on \(taken); stop it or choose --listen")
      #expect(unsafe access(path, F_OK) != 0)
    }

    @Test func foreignAddress() throws {
      let address = ListenAddress.tcp(host: "192.0.2.1", port: 0)
      #expect(throws: HTTPServerError.addressNotAvailable(address)) { try TestServer([address]) }
    }

    @Test func inheritedListenerSurvivesStop() throws {
      let directory = try ScratchDirectory()
      let path = directory.path + "/s"
      let own = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
      defer { close(own) }
      #expect(unsafe withUnixAddress(path, { unsafe bind(own, $0, $1) }) == 0)
      #expect(listen(own, 10) == 0)
      for _ in 0..<2 {
        // What a service manager does: it keeps the socket and hands out duplicates.
        let server = try TestServer([.inherited(fd: dup(own))])
        #expect(server.server.boundAddresses == [.unix(path: path)])
        #expect(try RawClient(.unix(path: path)).exchange(get).status == 200)
        server.server.stop()
      }
      // Still a listener: a client can connect although nobody accepts.
      _ = try RawClient(.unix(path: path))
    }

    @Test func inheritedTCPListenerSurvivesStop() throws {
      let own = try ListenSocket.listening(on: .tcp(host: "127.0.0.1", port: 0))
      for _ in 0..<2 {
        let server = try TestServer([.inherited(fd: dup(own.descriptor))])
        #expect(server.server.boundAddresses == [own.bound])
        #expect(try server.client().exchange(get).status == 200)
        server.server.stop()
      }
      _ = try RawClient(own.bound)
    }

    @Test func descriptorsThatDoNotListen() throws {
      let plain = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
      defer { close(plain) }
      #expect(throws: HTTPServerError.notListening(fd: plain)) { try TestServer([.inherited(fd: plain)]) }
      #expect(fcntl(plain, F_GETFD) >= 0)
      #expect(throws: HTTPServerError.notListening(fd: 99_999)) { try TestServer([.inherited(fd: 99_999)]) }
    }

    @Test func configurationsWithoutSense() {
      let changes: [(inout HTTPServerConfiguration) -> Void] = [
        { $0.listen = [] }, { $0.bodyLimit = -1 }, { $0.requestDeadline = 0 }, { $0.inactivityTimeout = 0 },
        { $0.threads = 0 }, { $0.load = HTTPLoad(connectionLimit: 0) }, { $0.load = HTTPLoad(waitingLimit: 0) },
        { $0.connectionMemoryLimit = 100 },
      ]
      for change in changes {
        #expect(throws: HTTPServerError.self) { try TestServer([.tcp(host: "127.0.0.1", port: 0)], change) }
      }
    }

    @Test func startsOnce() throws {
      let server = try TestServer()
      #expect(throws: HTTPServerError.alreadyStarted) { try server.server.start() }
      server.server.stop()
      #expect(throws: HTTPServerError.alreadyStarted) { try server.server.start() }
    }
  }
}
