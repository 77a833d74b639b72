import CKVM
import ComparedKicks
import Dispatch
import Foundation
import Glibc
import GuestImages
import LinuxSupport
import Synchronization
import Testing

@testable import VCPURuntime

/// Faults that a host really produces: no room for queued signals, a process that is stopped and continued, kicks that
/// come as early, as late and from as unfortunate a place as they can.
@Suite(.serialized, .enabled(if: RealKVM.isAvailable)) struct HostFaultTests {
  // MARK: Pitfall 4: real-time signals queue, and are refused once RLIMIT_SIGPENDING is used up

  @Test func kicksNeedNoRoomForQueuedSignals() async {
    await #expect(processExitsWith: .success) { try HostFaultTests.kick(withQueuedSignals: 0) }
  }

  @Test func kicksNeedNoMoreRoomThanForOneQueuedSignal() async {
    await #expect(processExitsWith: .success) { try HostFaultTests.kick(withQueuedSignals: 1) }
  }

  private static func kick(withQueuedSignals room: rlim_t) throws {
    var limit = rlimit(rlim_cur: room, rlim_max: room)
    // Safe, here and below: locals that outlive the calls.
    try #require(unsafe setrlimit(__rlimit_resource_t(__RLIMIT_SIGPENDING.rawValue), &limit) == 0)
    // Until a real-time signal is refused, so that the limit is known to be in force. The kernel counts the user's signals
    // in all processes, so that one may be refused and the next one not.
    let realTime: Int32 = 40
    blockSignals([realTime])
    try #require((0...room).contains { _ in pthread_kill(pthread_self(), realTime) == EAGAIN })
    for mechanism in ComparedMechanism.sound {
      let stress = try KickStress(mechanism, kickers: 16)
      defer { stress.close() }
      _ = try stress.round(kicks: 2_000)
    }
  }

  // MARK: Every -EINTR may be spurious (pitfall 2)

  /// SIGSTOP cannot be blocked, and brings every thread out of KVM_RUN. In a process of its own, which another one
  /// stops and continues a hundred times while it is kicked.
  @Test func aProcessThatIsStoppedAndContinuedLosesNoKick() async {
    await #expect(processExitsWith: .success) {
      for mechanism in ComparedMechanism.sound {
        let stress = try KickStress(mechanism)
        defer { stress.close() }
        let stopper = Process()
        stopper.executableURL = URL(filePath: "/bin/sh")
        // A continue that comes before the stop has taken effect would undo it: wait until it has.
        stopper.arguments = [
          "-c",
          """
          for i in $(seq 100); do
            kill -STOP $0 && until grep -q '^State:.T' /proc/$0/status; do :; done
            kill -CONT $0
          done
          """, "\(getpid())",
        ]
        try stopper.run()
        var rounds = 0
        while stopper.isRunning {
          guard try stress.round(kicks: 500) else { break }
          rounds += 1
        }
        stopper.waitUntilExit()
        #expect(stopper.terminationStatus == 0)
        #expect(rounds > 0)
      }
    }
  }

  // MARK: The beginning

  /// Kicks before, during and after a vCPU's first KVM_RUN (pitfalls 5 and 11): each is answered, the run never fails,
  /// and the guest runs.
  @Test(arguments: ComparedMechanism.sound) func kicksAtTheFirstRun(_ mechanism: ComparedMechanism) throws {
    for _ in 0..<40 {
      let recorder = Recorder()
      let running = try RunningVCPU(.flat(EntryWindowTests.counter), mechanism: mechanism, handler: recorder)
      defer { running.close() }
      let failures = Mutex<[KickError]>([])
      let group = startThreads(4) { _ in
        for _ in 0..<20 {
          do throws(KickError) {
            let ticket = try running.vcpu.request()
            _ = try running.vcpu.wait(for: ticket, untilNS: soon, resends: false)
          } catch { failures.withLock { $0.append(error) } }
        }
      }
      try running.become(.run)
      group.wait()
      try waitUntil("the guest runs") { try running.word(at: EntryWindowTests.counterAddress) != 0 }
      #expect(failures.withLock { $0 } == [])
      #expect(recorder.stops == [])
      #expect(running.vcpu.counts.runErrors == 0)
      try running.expectAgreementWithKernel()
    }
  }

  /// Pitfall 6: a vCPU's thread has the kick signal unblocked and no other, and that only once it enters the guest.
  @Test(arguments: ComparedMechanism.sound) func exactlyTheKickSignalIsUnblocked(_ mechanism: ComparedMechanism) throws
  {
    let thread = Atomic<Int32>(0)
    let recorder = Recorder { _, _ in
      thread.store(gettid(), ordering: .releasing)
      return .resume
    }
    let running = try RunningVCPU(guest: "pio", mechanism: mechanism, handler: recorder)
    defer { running.close() }
    try running.become(.run)
    try waitUntil("the guest runs") { thread.load(ordering: .acquiring) != 0 }
    try running.become(.pause)
    let status = try String(
      contentsOfFile: "/proc/self/task/\(thread.load(ordering: .acquiring))/status", encoding: .utf8)
    let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("SigBlk:") })
    let blocked = try #require(UInt64(line.split(separator: "\t").last ?? "", radix: 16))
    // Nobody can block SIGKILL and SIGSTOP, and the C library keeps 32 and 33 for itself.
    let always: UInt64 = [SIGKILL, SIGSTOP, 32, 33].reduce(0) { $0 | 1 << UInt64($1 - 1) }
    let kick: UInt64 = 1 << UInt64(SIGUSR1 - 1)
    #expect(~blocked & ~always == (mechanism == .signalMask ? 0 : kick))
  }

  // MARK: The end

  /// Pitfall 12: a kick whose signal comes late, when the vCPU has long served the request and gone on to other things,
  /// does nothing to these: it costs one return, and neither ends the guest, nor answers a request, nor undoes a goal.
  @Test(arguments: [ComparedMechanism.immediateExit, .ipFixup]) func aSignalThatComesLateDoesNothing(
    _ mechanism: ComparedMechanism
  ) throws {
    let thread = Atomic<UInt>(0)
    let recorder = Recorder { _, _ in
      thread.store(UInt(pthread_self()), ordering: .releasing)
      return .resume
    }
    // One port write, and then it counts for ever: out %al, $0x80; again: incq 0x20000; jmp again
    let code: [UInt8] = [0xE6, 0x80, 0x48, 0xFF, 0x04, 0x25, 0, 0, 2, 0, 0xEB, 0xF6]
    let running = try RunningVCPU(
      .flat(FlatImage(mode: .long64Ring3, code: code)), mechanism: mechanism, handler: recorder)
    defer { running.close() }
    try running.become(.run)
    try waitUntil("the guest runs") { thread.load(ordering: .acquiring) != 0 }
    let handle = pthread_t(thread.load(ordering: .acquiring))
    for _ in 0..<100 {
      try running.become(.pause)
      let answered = try running.become(.run)
      try running.waitUntilItCounts(at: 0x20000)
      let before = running.vcpu.counts.spuriousReturns
      #expect(pthread_kill(handle, SIGUSR1) == 0)
      try waitUntil("it costs a return") { running.vcpu.counts.spuriousReturns > before }
      try running.waitUntilItCounts(at: 0x20000)
      #expect(running.vcpu.state == .running)
      #expect(running.vcpu.control.served.generation == answered.generation)
      #expect(running.vcpu.counts.spuriousReturns == before + 1)
      let next = try running.vcpu.kick(timeoutNS: 30_000_000_000)
      #expect(next.generation == answered.generation + 1)
    }
    #expect(recorder.stops == [])
    try running.expectAgreementWithKernel()
  }

  /// Pitfall 7: whoever waits for an answer holds nothing that the thread could want while it serves. The handler takes
  /// every lock that a vCPU has, while sixteen wait for it and its owner waits to join it. In a process of its own, which
  /// an alarm ends: where a lock is held all the same, it hangs.
  @Test func anExitHandlerMayTakeEveryLock() async {
    await #expect(processExitsWith: .success) {
      alarm(60)
      for mechanism in ComparedMechanism.sound { try HostFaultTests.takeEveryLock(mechanism) }
    }
  }

  private static func takeEveryLock(_ mechanism: ComparedMechanism) throws {
    let vcpu = Mutex<VCPU?>(nil)
    let served = Atomic<Int>(0)
    let recorder = Recorder { _, _ in
      guard let mine = vcpu.withLock({ $0 }) else { return .resume }
      _ = mine.counts
      _ = mine.kernelStatistics
      _ = try? mine.requestRegisters()
      _ = try? mine.request()
      mine.notifyInput()
      served.add(1, ordering: .relaxed)
      return .resume
    }
    let running = try RunningVCPU(guest: "pio", mechanism: mechanism, handler: recorder)
    vcpu.withLock { $0 = running.vcpu }
    try running.become(.run)
    let group = startThreads(16) { _ in
      while (try? running.vcpu.kick(timeoutNS: 30_000_000_000)) != nil {}
    }
    // Whatever comes of it, those who kick must end.
    let isServed = Result { try waitUntil("exits are served") { served.load(ordering: .relaxed) >= 20 } }
    running.close()
    group.wait()
    vcpu.withLock { $0 = nil }
    try isServed.get()
    #expect(running.vcpu.counts.kickTimeouts == 0)
  }
}
