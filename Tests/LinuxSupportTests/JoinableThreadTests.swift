import Glibc
import LinuxSupport
import Synchronization
import SystemPackage
import Testing

struct JoinableThreadTests {
  private final class Flags: Sendable {
    let hasRun = Atomic<Bool>(false)
    let blocked = Atomic<Int>(0)
  }

  @Test func theBodyHasRunWhenJoinReturns() throws {
    let flags = Flags()
    let thread = try JoinableThread(stackBytes: 64 << 10, name: "a-name-longer-than-fifteen") {
      flags.hasRun.store(true, ordering: .releasing)
    }
    thread.join()
    let hasRun = flags.hasRun.load(ordering: .acquiring)
    #expect(hasRun)
  }

  @Test func threadsAreBornWithEverySignalBlocked() throws {
    let flags = Flags()
    let thread = try JoinableThread(stackBytes: 64 << 10, name: "blocked") {
      var mask = sigset_t()
      // Safe: a local, filled in by the call.
      unsafe pthread_sigmask(SIG_BLOCK, nil, &mask)
      for signal in [SIGUSR1, SIGTERM, SIGINT, SIGCHLD] where unsafe sigismember(&mask, signal) == 1 {
        flags.blocked.add(1, ordering: .relaxed)
      }
    }
    thread.join()
    let blocked = flags.blocked.load(ordering: .relaxed)
    #expect(blocked == 4)
  }

  @Test func aStackThatCannotBeHadIsAnError() {
    #expect(throws: Errno.self) { try JoinableThread(stackBytes: 1 << 50, name: "vast") {}.join() }
  }
}
