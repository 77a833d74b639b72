import Glibc
import LinuxSupport
import Synchronization
import SystemPackage
import Testing

@testable import Confinement

/// What the kernel makes of the filters: each role's on a thread of a process of its own.
struct FilterTests {
  @Test func vcpu() async { await #expect(processExitsWith: .success) { Probe.checkAll(as: .vcpu) } }
  @Test func requests() async { await #expect(processExitsWith: .success) { Probe.checkAll(as: .requests) } }
  @Test func machines() async { await #expect(processExitsWith: .success) { Probe.checkAll(as: .machines) } }
  @Test func files() async { await #expect(processExitsWith: .success) { Probe.checkAll(as: .files) } }
  @Test func operations() async { await #expect(processExitsWith: .success) { Probe.checkAll(as: .operations) } }
  @Test func service() async { await #expect(processExitsWith: .success) { Probe.checkAll(as: .service) } }
  @Test func plain() async { await #expect(processExitsWith: .success) { Probe.checkAll(as: .plain) } }

  @Test func executingAProgramEndsTheProcess() async {
    await #expect(processExitsWith: .signal(SIGSYS)) { executeProgram() }
  }

  /// A kick is a signal to a vCPU's thread, whose handler returns by a call of its own.
  @Test func aThreadOfAVCPUCanBeKicked() async {
    await #expect(processExitsWith: .exitCode(7)) { beKicked() }
  }

  @Test(arguments: ThreadRole.allCases) func theListsAreMadeOfKnownCalls(role: ThreadRole) throws {
    let program = try Sandbox.program(role)
    #expect(program.count % 8 == 0 && program.count / 8 <= 4096)
    let fatal = Set(SystemCallPolicy.fatal.map(\.name))
    #expect(fatal.isDisjoint(with: SystemCallPolicy.allowed(role).map(\.name)))
  }
}

private func executeProgram() -> Never {
  confine(as: .service)
  var words: [UnsafeMutablePointer<CChar>?] = unsafe [nil]
  // Safe: an empty list of words.
  unsafe execve("/bin/true", &words, &words)
  _exit(0)
}

private let handled = Atomic<Int32>(0)

private func beKicked() -> Never {
  // The handler stores a number, without a lock.
  signal(SIGUSR1) { _ in handled.store(7, ordering: .relaxed) }
  blockSignals([SIGUSR1])
  confine(as: .vcpu)
  pthread_kill(pthread_self(), SIGUSR1)
  _ = waitForSignal([SIGUSR1])
  var set = sigset_t()
  // Safe: a local, initialised by sigemptyset.
  unsafe sigemptyset(&set)
  unsafe sigaddset(&set, SIGUSR1)
  unsafe pthread_sigmask(SIG_UNBLOCK, &set, nil)
  pthread_kill(pthread_self(), SIGUSR1)
  _exit(handled.load(ordering: .relaxed))
}

/// Ends the process where that fails.
private func confine(as role: ThreadRole) {
  do throws(Errno) {
    try ThreadPrivileges.gainNoMore()
    try ThreadPrivileges.filterCalls(try Sandbox.common(), isLogged: false)
    try ThreadPrivileges.filterCalls(try Sandbox.program(role), isLogged: false)
  } catch {
    say("\(role): \(error)\n")
    _exit(2)
  }
}

private func say(_ text: String) {
  let bytes = Array(text.utf8)
  // Safe: the buffer is the whole array.
  _ = unsafe write(2, bytes, bytes.count)
}

/// A system call that some roles may make. It fails in any case, with EPERM where the filter refuses it: nothing comes of it.
private enum Probe: String, CaseIterable {
  case runGuest, makeVM, typeIntoTerminal, openToRead, openToWrite, unlink, makeDirectory, writeAt, askPeer, connect,
    bind
  case listen, makeSocket, mapExecutable, changeMode, signalParent, makeProcess, setLimit, loadMemoryFile

  /// The roles that may make the call.
  private var roles: Set<ThreadRole> {
    let all = Set(ThreadRole.allCases)
    return switch self {
    case .runGuest: [.vcpu, .requests, .machines, .operations, .service]
    case .makeVM: [.requests, .machines, .operations, .service]
    case .openToRead: all.subtracting([.plain])
    case .openToWrite, .unlink, .makeDirectory: [.requests, .files, .operations, .service]
    case .writeAt: all.subtracting([.plain, .vcpu])
    case .loadMemoryFile: [.requests, .machines, .operations, .service]
    case .askPeer: [.requests]
    case .connect, .makeSocket: [.service]
    case .typeIntoTerminal, .bind, .listen, .mapExecutable, .changeMode, .signalParent, .makeProcess,
      .setLimit:
      []
    }
  }

  /// Ends the process: with 0 where the calls of `role` are those that it may make.
  static func checkAll(as role: ThreadRole) -> Never {
    confine(as: role)
    var wrong: [String] = []
    for probe in allCases where (probe.error != EPERM) != probe.roles.contains(role) { wrong.append(probe.rawValue) }
    if !wrong.isEmpty { say("\(role): \(wrong.joined(separator: " "))\n") }
    // Memory and threads are every role's.
    let started = try? JoinableThread(stackBytes: 64 << 10, name: "probe") {}
    if case .some(let thread) = started { thread.join() } else { wrong.append("thread") }
    _ = [UInt8](repeating: 1, count: 64 << 20)
    _exit(wrong.isEmpty ? 0 : 1)
  }

  /// Makes the call, with arguments that make it fail where no filter does. A call that every filter refuses may have any.
  private var error: Int32 {
    var address = sockaddr()
    var length: socklen_t = 2
    // Safe: locals, and descriptors that are not open.
    let result: Int32 =
      switch self {
      case .runGuest: ioctl(-1, 0xAE80, 0)
      case .makeVM: ioctl(-1, 0xAE01, 0)
      case .typeIntoTerminal: ioctl(-1, 0x5412, 0)
      case .openToRead: unsafe open("/nothing", O_RDONLY)
      case .openToWrite: unsafe open("/nothing/there", O_WRONLY | O_CREAT, 0o600)
      case .unlink: unsafe Glibc.unlink("/nothing")
      case .makeDirectory: unsafe mkdir("/nothing/there", 0o700)
      case .writeAt: unsafe Int32(pwrite(-1, &address, 1, 0))
      case .loadMemoryFile: (try? MemoryFile(name: "probe", size: 1)) == nil ? -1 : 0
      case .askPeer: unsafe getpeername(-1, &address, &length)
      case .connect: unsafe Glibc.connect(-1, &address, 2)
      case .bind: unsafe Glibc.bind(-1, &address, 2)
      case .listen: Glibc.listen(-1, 1)
      case .makeSocket: socket(-1, 0, 0)
      case .mapExecutable: Self.mapExecutable()
      case .changeMode: unsafe chmod("/nothing", 0o777)
      case .signalParent: kill(getppid(), 0)
      case .makeProcess: Self.makeProcess()
      case .setLimit: Self.setLimit()
      }
    return result < 0 ? errno : 0
  }

  private static func mapExecutable() -> Int32 {
    // Safe: a fresh mapping that nothing uses.
    let mapped = unsafe mmap(nil, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    return unsafe mapped == MAP_FAILED ? -1 : 0
  }

  private static func makeProcess() -> Int32 {
    var child = pid_t()
    var words: [UnsafeMutablePointer<CChar>?] = unsafe [nil]
    // Safe: empty lists of words.
    let error = unsafe posix_spawn(&child, "/nothing", nil, nil, &words, &words)
    errno = error
    return error == 0 ? 0 : -1
  }

  private static func setLimit() -> Int32 {
    var limit = rlimit()
    // Safe: the local is filled before it is read; where reading is refused, so is writing.
    unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    return unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  }
}
