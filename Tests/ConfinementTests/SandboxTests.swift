import Glibc
import LinuxSupport
import Synchronization
import SystemPackage
import Testing

@testable import Confinement

/// The three steps, in processes of their own.
struct SandboxTests {
  /// The main thread makes sockets until it is sealed; the others never.
  @Test func threadsAreConfinedBeforeTheMainThreadIs() async {
    await #expect(processExitsWith: .success) {
      do throws(Sandbox.Failure) {
        var sandbox = try Sandbox()
        try sandbox.bound(to: Sandbox.Files(changed: [], read: [], cleared: []))
        expect(makesSocket(), "the main thread makes no socket")
        for role in ThreadRole.allCases {
          expect(role == .service ? makesSocket(as: role) : !makesSocket(as: role), "a socket by \(role)")
        }
        try sandbox.seal()
        expect(listen(-1, 1) < 0 && errno == EPERM, "the main thread listens")
      } catch {
        expect(false, "\(error)")
      }
      _exit(0)
    }
  }

  @Test(.enabled(if: FileRules.version != nil)) func filesThatWereNotToldAreClosed() async {
    await #expect(processExitsWith: .success) {
      do throws(Sandbox.Failure) {
        var sandbox = try Sandbox()
        try sandbox.bound(to: Sandbox.Files(changed: [], read: ["/usr"], cleared: []))
        try sandbox.seal()
        expect(opens("/usr/bin/env"), "a file that was told is closed")
        expect(opens("/proc/self/status"), "/proc is closed")
        expect(!opens("/etc/passwd") && errno == EACCES, "a file that was not told is open")
      } catch {
        expect(false, "\(error)")
      }
      _exit(0)
    }
  }

  /// What `GET /v1/host` says without a sandbox is what the kernel says.
  @Test func anUnconfinedProcessSaysSo() {
    let status = Sandbox.unconfined
    #expect(!status.filtersCalls && status.landlockVersion == nil)
    #expect(status.capabilities == ThreadPrivileges.capabilities)
  }
}

/// Ends the process where the condition does not hold.
private func expect(_ condition: Bool, _ what: @autoclosure () -> String) {
  guard !condition else { return }
  let bytes = Array("\(what())\n".utf8)
  // Safe: the buffer is the whole array.
  _ = unsafe write(2, bytes, bytes.count)
  _exit(1)
}

private func makesSocket() -> Bool {
  let made = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
  if made >= 0 { close(made) }
  return made >= 0
}

/// On a thread of that role.
private func makesSocket(as role: ThreadRole) -> Bool {
  let made = Atomic(false)
  let isOver = CountingSemaphore()
  do throws(Errno) {
    try JoinableThread(stackBytes: 64 << 10, name: "probe", role: role) {
      made.store(makesSocket(), ordering: .relaxed)
      isOver.signal()
    }.detach()
  } catch {
    expect(false, "no thread of the role \(role): \(error)")
  }
  isOver.wait()
  return made.load(ordering: .relaxed)
}

private func opens(_ path: String) -> Bool {
  // Safe: the path lives for the call.
  let opened = unsafe open(path, O_RDONLY)
  if opened >= 0 { close(opened) }
  return opened >= 0
}
