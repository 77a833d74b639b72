import CLinux

/// Who the process at the other end of a unix socket was when it connected, as the kernel says it: SO_PEERCRED and
/// SO_PEERGROUPS, unix(7). What the process becomes later changes nothing.
public struct SocketPeer: Sendable, Equatable {
  /// A process with more supplementary groups is not read: its client could make the server keep 256 KiB a connection.
  public static let groupLimit = 1024

  /// The effective user id.
  public let uid: UInt32
  /// The effective group id.
  public let gid: UInt32
  /// The supplementary groups.
  public let groups: [UInt32]

  /// The process that is connected to this socket. Nil where the kernel does not know all of it, or the process has more than
  /// `groupLimit` groups. Without some groups, a rule for one of them would be passed over, and a later one could give more.
  public init?(of socket: Int32) {
    var (uid, gid): (UInt32, UInt32) = (0, 0)
    var count: Int32 = 0
    // Safe: the buffer has room for as many as are asked for, and so many as are counted were written.
    groups = unsafe [UInt32](unsafeUninitializedCapacity: Self.groupLimit) { buffer, initialized in
      guard let start = buffer.baseAddress else { return }
      count = unsafe clinux_peer(socket, &uid, &gid, start, Int32(Self.groupLimit))
      initialized = max(0, Int(count))
    }
    guard count >= 0 else { return nil }
    (self.uid, self.gid) = (uid, gid)
  }
}
