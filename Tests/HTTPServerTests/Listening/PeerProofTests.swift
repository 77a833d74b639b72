import Foundation
import Glibc
import LinuxSupport
import TestSupport
import Testing

@testable import HTTPServer

private let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

extension HTTPServerTests {
  /// What a connection says of its client, over real sockets.
  @Suite struct PeerProofs {
    @Test func aUnixSocketSaysWhichProcessItIsForEachRequest() throws {
      let directory = try ScratchDirectory()
      let server = try TestServer([.unix(path: directory.path(of: "s"))])
      let client = try server.client()
      for _ in 0..<2 { #expect(try client.exchange(get).status == 200) }
      var groups = [gid_t](repeating: 0, count: 65_536)
      let count = unsafe getgroups(Int32(groups.count), &groups)
      groups.removeLast(groups.count - Int(count))
      let own = HTTPPeerProof.process(uid: geteuid(), gid: getegid(), groups: groups.sorted())
      #expect(server.handler.requests.map(\.head.proof) == [own, own])
    }

    @Test func anAddressSaysNothing() throws {
      let server = try TestServer()
      #expect(try server.client().exchange(get).status == 200)
      #expect(server.handler.requests.map(\.head.proof) == [.nothing])
    }

    @Test(.enabled(if: geteuid() == 0, "only root can be another user"))
    func anotherUsersGroupsArriveUpToTheLimit() throws {
      let directory = try ScratchDirectory()
      let path = directory.path(of: "s")
      let server = try TestServer([.unix(path: path)])
      #expect(unsafe chmod(directory.path, 0o755) == 0)
      #expect(unsafe chmod(path, 0o666) == 0)
      let limit = UInt32(SocketPeer.groupLimit)
      for count in [0, 2, limit, limit + 1] {
        let groups = (0..<count).map { 3000 + $0 }
        try request(path, uid: 1234, gid: 2345, groups: groups)
        let proof = server.handler.requests.last?.head.proof
        #expect(proof == (count > limit ? .nothing : .process(uid: 1234, gid: 2345, groups: groups)))
      }
    }

    /// Has a process of that user make a request.
    private func request(_ path: String, uid: UInt32, gid: UInt32, groups: [UInt32]) throws {
      let client = Process()
      client.executableURL = URL(filePath: "/usr/bin/setpriv")
      let list = groups.isEmpty ? ["--clear-groups"] : ["--groups", groups.map(String.init).joined(separator: ",")]
      client.arguments =
        ["--reuid", "\(uid)", "--regid", "\(gid)"] + list
        + [
          "perl", "-MSocket", "-e",
          """
          socket(S, PF_UNIX, SOCK_STREAM, 0) && connect(S, sockaddr_un($ARGV[0])) or die "connect: $!";
          syswrite(S, "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n"); sysread(S, $answer, 12) == 12 or die "read: $!";
          """, path,
        ]
      try client.run()
      client.waitUntilExit()
      #expect(client.terminationStatus == 0)
    }
  }
}
