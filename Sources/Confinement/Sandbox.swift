import Glibc
import LinuxSupport
import Synchronization
import SystemPackage

/// What the server gives up for good, in three steps: before its first thread, before it touches its files, and when it has
/// started. The calling thread is the main one, and makes them once.
///
/// Capabilities, Landlock and filters of system calls belong to threads, and new threads inherit them. So a thread of each role
/// restricts itself and then starts the others of its role (`ThreadSpawner`). The main thread comes last, since it binds
/// addresses and opens devices.
public struct Sandbox: ~Copyable {
  /// What the sandbox does, for `GET /v1/host`.
  public struct Status: Sendable, Equatable {
    /// System calls are filtered.
    public var filtersCalls: Bool
    /// The version of Landlock that bounds the files; nil: the kernel does not.
    public var landlockVersion: Int?
    /// No file that the server executes could give it privileges.
    public var gainsNoMorePrivileges: Bool
    /// The capabilities that a thread has, a bit each.
    public var capabilities: UInt64
  }

  /// The files that the server uses after its start.
  public struct Files: Sendable {
    /// Directories that it changes.
    public var changed: [String]
    /// Directories and files that it reads.
    public var read: [String]
    /// Directories from which it removes its sockets at the end.
    public var cleared: [String]

    /// Files; /proc and /sys are always read.
    public init(changed: [String], read: [String], cleared: [String]) {
      self.changed = changed
      self.read = read
      self.cleared = cleared
    }
  }

  /// Why the server cannot confine itself.
  public struct Failure: Error, CustomStringConvertible {
    let step: String
    let errno: Errno

    /// Says what the kernel refused.
    public var description: String { "the server cannot confine itself: \(step): \(errno)" }
  }

  private var rules: LandlockRules?

  /// The first step, before any other thread exists: no new privileges, no capability but that of binding low ports, no core
  /// dumps, no calls that only attackers make. Threads of the role `plain` can start after it.
  public init() throws(Failure) {
    // SQLite and the blobs give modes of their own; this is for what no code thought of.
    umask(0o077)
    try Self.doing("no_new_privs") { () throws(Errno) in try ThreadPrivileges.gainNoMore() }
    try Self.doing("capabilities") { () throws(Errno) in
      try ThreadPrivileges.keepCapabilities(ThreadPrivileges.bindsLowPorts)
    }
    try Self.doing("core dumps") { () throws(Errno) in try ProcessMemory.forbidDumps() }
    try Self.doing("seccomp") { () throws(Errno) in
      try ThreadPrivileges.filterCalls(try Self.common(), isLogged: false)
    }
    try Self.start([.plain], rules: nil)
  }

  /// The second step, before the server touches its files: `files` are all that it opens from now on. Threads of all roles can
  /// start after it. Without Landlock files are bound by their owners and modes alone.
  public mutating func bound(to files: Files) throws(Failure) {
    if FileRules.version != nil {
      rules = try Self.doing("Landlock") { () throws(Errno) in try LandlockRules(files) }
    }
    try Self.start(ThreadRole.allCases.filter { $0 != .plain }, rules: rules)
  }

  /// What is given up, once the last step is made.
  public var status: Status {
    Status(
      filtersCalls: true, landlockVersion: rules == nil ? nil : FileRules.version, gainsNoMorePrivileges: true,
      capabilities: 0)
  }

  /// The last step, when the server has started: the main thread gives up what the others never had.
  public consuming func seal() throws(Failure) { try Self.restrictThread(.service, rules) }

  /// What holds without a sandbox.
  public static var unconfined: Status {
    Status(
      filtersCalls: false, landlockVersion: nil, gainsNoMorePrivileges: ThreadPrivileges.gainsNoMore,
      capabilities: ThreadPrivileges.capabilities ?? 0)
  }

  // MARK: Pieces

  private static func start(_ roles: [ThreadRole], rules: LandlockRules?) throws(Failure) {
    for role in roles {
      let failure = Mutex(Failure(step: "a thread", errno: .resourceTemporarilyUnavailable))
      do throws(Errno) {
        try ThreadSpawner.start(role) { () throws(Errno) in
          do throws(Failure) {
            try restrictThread(role, rules)
          } catch {
            failure.withLock { $0 = error }
            throw error.errno
          }
        }
      } catch {
        throw failure.withLock { $0 }
      }
    }
  }

  private static func restrictThread(_ role: ThreadRole, _ rules: LandlockRules?) throws(Failure) {
    try doing("capabilities") { () throws(Errno) in try ThreadPrivileges.keepCapabilities(0) }
    if let rules { try doing("Landlock") { () throws(Errno) in try rules.restrictThread() } }
    try doing("seccomp") { () throws(Errno) in
      try ThreadPrivileges.filterCalls(try program(role), isLogged: true)
    }
  }

  /// What all threads have in common. Its refusals are no news: the C library asks for clone3 at each thread's start.
  static func common() throws(Errno) -> [UInt8] {
    var filter = try SystemCallFilter.allowing()
    try filter.kill(SystemCallPolicy.fatal)
    try filter.fail(SystemCallPolicy.absent, with: .noFunction)
    return try filter.program()
  }

  /// What a role may call.
  static func program(_ role: ThreadRole) throws(Errno) -> [UInt8] {
    var filter = try SystemCallFilter.refusing()
    try filter.allow(SystemCallPolicy.allowed(role))
    filter.putFirst("ioctl")
    return try filter.program()
  }

  private static func doing<Value>(
    _ step: String, _ body: () throws(Errno) -> Value
  ) throws(Failure) -> Value {
    do throws(Errno) {
      return try body()
    } catch {
      throw Failure(step: step, errno: error)
    }
  }
}

/// Rules of Landlock that several threads take on.
private final class LandlockRules: Sendable {
  private let rules: FileRules

  init(_ files: Sandbox.Files) throws(Errno) {
    rules = try FileRules()
    for path in files.read + ["/proc", "/sys", "/dev/urandom", "/dev/null"] { try rules.allow(.read, below: path) }
    for path in files.cleared { try rules.allow(.remove, below: path) }
    for path in files.changed { try rules.allow(.change, below: path) }
  }

  func restrictThread() throws(Errno) { try rules.restrictThread() }
}
