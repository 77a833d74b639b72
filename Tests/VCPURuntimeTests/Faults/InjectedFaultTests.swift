import CHeldEntry
import CKVM
import ComparedKicks
import Dispatch
import Glibc
import GuestImages
import KVM
import LinuxSupport
import Synchronization
import SystemPackage
import Testing
import ThreadSanitizerSupport

@testable import VCPURuntime

/// Faults of the kernel that it does not produce when asked to: put before it by `CHeldEntry`.
@Suite(.serialized, .enabled(if: RealKVM.isAvailable)) struct InjectedFaultTests {
  /// Pitfall 4: `pthread_kill` returns its error; who looks at errno believes that the signal is on its way. It is sent
  /// again, and as long as it is refused, the kicker is told so at its deadline.
  @Test func aSignalThatCannotBeSentIsTold() async {
    await #expect(processExitsWith: .success) {
      let running = try RunningVCPU(guest: "spin")
      try running.become(.run)
      _ = try running.kickInGuest()
      fail_every_pthread_kill(EAGAIN)
      var refusal: KickError?
      // A request that finds the thread in user space needs no signal.
      for _ in 0..<1_000 where refusal == nil {
        do throws(KickError) {
          _ = try running.vcpu.kick(timeoutNS: 30_000_000)
        } catch { refusal = error }
      }
      fail_every_pthread_kill(0)
      #expect(refusal == .signalFailed(.resourceTemporarilyUnavailable))
      #expect(running.vcpu.counts.kickTimeouts == 1)
      // The next one shares the signal that was refused. It is answered since the signal is sent again.
      let next = try running.vcpu.request()
      #expect(try running.vcpu.wait(for: next, untilNS: soon).generation == next.generation)
      try running.expectAgreementWithKernel()
      running.close()
    }
  }

  /// A request that its kicker does not wait for is delivered, too: others send its signal when its own was refused.
  @Test func aSignalThatIsRefusedIsSentAgainThoughItsKickerDoesNotWait() throws {
    let recorder = Recorder()
    let running = try RunningVCPU(guest: "spin", handler: recorder)
    defer { running.close() }
    for _ in 0..<20 {
      try running.become(.run)
      _ = try running.kickInGuest()
      fail_pthread_kill(EAGAIN, 1)
      _ = try running.vcpu.request(goal: .pause)
      fail_pthread_kill(0, 0)
      try waitUntil("it is paused") { running.vcpu.state == .paused }
    }
    _ = try running.become(.run)
    _ = try running.kickInGuest()
    fail_pthread_kill(EAGAIN, 1)
    _ = try running.vcpu.request(goal: .stop)
    fail_pthread_kill(0, 0)
    try waitUntil("it is parked for good") { recorder.parkedRuns == [0] }
  }

  /// `join` takes only the vCPU's end for its end. It once took a signal that was refused for one, and its caller unmapped
  /// the memory of a guest that ran on. In a process of its own, which that would have ended.
  @Test(arguments: ComparedMechanism.sound) func joinOutlivesASignalThatCannotBeSent(_ mechanism: ComparedMechanism)
    async
  {
    await #expect(processExitsWith: .success) { [name = mechanism.rawValue as String] in
      let recorder = Recorder()
      let mechanism = try #require(ComparedMechanism(rawValue: name))
      let running = try RunningVCPU(guest: "spin", mechanism: mechanism, handler: recorder)
      try running.become(.run)
      _ = try running.kickInGuest()
      fail_pthread_kill(EAGAIN, 3)
      running.vcpu.join()
      #expect(recorder.parkedRuns == [0])
      #expect(throws: KickError.ended) { try running.vcpu.request() }
      running.close()
    }
  }

  /// Pitfall 11: KVM_RUN is tried again after ENOMEM and EAGAIN …
  @Test(arguments: [ComparedMechanism.immediateExit, .signalMask], [ENOMEM, EAGAIN]) func aRunThatFailsIsTriedAgain(
    _ mechanism: ComparedMechanism, _ error: Int32
  ) throws {
    let recorder = Recorder()
    let running = try RunningVCPU(guest: "spin", mechanism: mechanism, handler: recorder, path: .failing)
    defer { running.close() }
    failing_entry_set(error, 7)
    try running.become(.run)
    _ = try running.kickInGuest()
    #expect(recorder.stops == [])
    let counts = running.vcpu.counts
    #expect((counts.starts, counts.runErrors) == (error == EAGAIN ? (7, 0) : (0, 7)))
    try running.expectAgreementWithKernel()
  }

  /// EAGAIN is what a vCPU says that others start, each time that they do: no number of them is too large.
  @Test func aVCPUThatIsStartedAgainAndAgainGoesOn() throws {
    let recorder = Recorder()
    let running = try RunningVCPU(guest: "spin", handler: recorder, path: .failing)
    defer { running.close() }
    try running.become(.run)
    _ = try running.kickInGuest()
    failing_entry_set(EAGAIN, 100)
    _ = try running.kickInGuest()
    _ = try running.kickInGuest()
    #expect(recorder.stops == [])
    #expect(running.vcpu.counts.starts == 100 && running.vcpu.counts.runErrors == 0)
    #expect(running.vcpu.counts.exits["start"] == 100)
    try running.expectAgreementWithKernel()
  }

  /// … but not for ever: the vCPU has then crashed, says why, and still answers.
  @Test(arguments: [ComparedMechanism.immediateExit, .signalMask]) func aRunThatFailsAgainAndAgainIsACrash(
    _ mechanism: ComparedMechanism
  ) throws {
    let recorder = Recorder()
    let running = try RunningVCPU(guest: "spin", mechanism: mechanism, handler: recorder, path: .failing)
    defer { running.close() }
    failing_entry_set(ENOMEM, .max)
    defer { failing_entry_set(0, 0) }
    try running.become(.run)
    try waitUntil("the vCPU has crashed") { !recorder.stops.isEmpty }
    #expect(recorder.stops == [.crashed("KVM_RUN failed: \(Errno.noMemory)")])
    #expect(running.vcpu.counts.runErrors == 8)
    #expect(running.vcpu.state == .halted)
    // The first may meet it on its way to bed.
    _ = try running.vcpu.kick(timeoutNS: 30_000_000_000)
    #expect(try running.vcpu.kick(timeoutNS: 30_000_000_000).phase == .parked)
  }

  /// Pitfall 11: on a kernel that remembers that its first KVM_RUN was disturbed, trying again does not help. So the
  /// kick signal must not be able to.
  @Test(arguments: [ComparedMechanism.immediateExit, .signalMask]) func theFirstRunCannotBeDisturbedByAKick(
    _ mechanism: ComparedMechanism
  ) throws {
    let recorder = Recorder()
    let running = try RunningVCPU(guest: "spin", mechanism: mechanism, handler: recorder, path: .forgetful)
    defer { running.close() }
    try running.become(.run)
    _ = try running.kickInGuest()
    #expect(recorder.stops == [])
    #expect(running.vcpu.counts.runErrors == 0)
    try running.expectAgreementWithKernel()
  }

  /// A guest is told that it stood still once for each pause, before it runs again; never otherwise. A guest without
  /// kvmclock (EINVAL) is no fault.
  @Test(arguments: [0, EINVAL, EIO]) func aGuestIsToldOfEachPauseBeforeItRunsAgain(_ error: Int32) async {
    await #expect(processExitsWith: .success) { [error = error as Int32] in
      let running = try RunningVCPU(guest: "spin")
      answer_kvmclock_ctrl(error)
      try running.become(.pause)
      try running.become(.run)
      _ = try running.kickInGuest()
      try running.become(.run)
      #expect(kvmclock_ctrls() == 0)
      for round in 1...20 as ClosedRange<UInt32> {
        for _ in 0..<3 { try running.become(.pause) }
        #expect(kvmclock_ctrls() == round - 1)
        try running.become(.run)
        _ = try running.kickInGuest()
        #expect(kvmclock_ctrls() == round)
      }
      #expect(running.vcpu.counts.runErrors == (error == EIO ? 20 : 0))
      try running.expectAgreementWithKernel()
      running.close()
      #expect(kvmclock_ctrls() == 20)
    }
  }

  /// Exits that are news for an interrupt controller in user space cost a turn, and nothing else.
  @Test(arguments: [KVM_EXIT_INTR, KVM_EXIT_IRQ_WINDOW_OPEN, KVM_EXIT_SET_TPR]) func exitsThatAreNoNewsResume(
    _ reason: Int32
  ) throws {
    let recorder = Recorder()
    let running = try RunningVCPU(guest: "spin", handler: recorder, path: .failing)
    defer { running.close() }
    try running.become(.run)
    _ = try running.kickInGuest()
    // Safe: the control block lives as long as the vCPU.
    unsafe failing_entry_exit(running.vcpu.control.pointer, UInt32(reason), 50)
    for _ in 0..<3 { _ = try running.kickInGuest() }
    #expect(recorder.stops == [])
    let exits = running.vcpu.counts.exits
    #expect(exits[ExitReason.name(of: UInt32(reason)), default: 0] >= 50)
  }

  /// Any other exit is the guest's end, and is told by its name and its place.
  @Test(arguments: [
    (KVM_EXIT_DEBUG, "KVM exit 4 (debug), which this server does not serve at 0x"),
    (KVM_EXIT_XEN, "KVM exit 34 (other), which this server does not serve at 0x"),
    (1_000, "KVM exit 1000 (other), which this server does not serve at 0x"),
    (KVM_EXIT_UNKNOWN, "the processor left the guest for a reason unknown to KVM, 0x"),
    (KVM_EXIT_FAIL_ENTRY, "the processor refused to enter the guest, hardware reason 0x"),
  ]) func anExitThatIsNotServedIsACrash(_ reason: Int32, _ words: String) throws {
    let recorder = Recorder()
    let running = try RunningVCPU(guest: "spin", handler: recorder, path: .failing)
    defer { running.close() }
    try running.become(.run)
    _ = try running.kickInGuest()
    // Safe: the control block lives as long as the vCPU.
    unsafe failing_entry_exit(running.vcpu.control.pointer, UInt32(reason), 1)
    _ = try running.vcpu.request()
    try waitUntil("the guest ends") { !recorder.stops.isEmpty }
    guard case .crashed(let detail) = recorder.stops.first else {
      Issue.record("\(recorder.stops)")
      return
    }
    #expect(detail.hasPrefix(words) && detail.contains(", cr3 0x"), "\(detail)")
  }

  /// Pitfall 11: KVM_CREATE_VM is tried again after EINTR, but not for ever.
  @Test func creatingAVMIsTriedAgainWhenASignalInterruptsIt() throws {
    let system = try RealKVM.system.get()
    fail_create_vm(EINTR, 7)
    _ = try system.createVM()
    #expect(create_vm_failures_left() == 0)
    fail_create_vm(EINTR, 100)
    #expect(throws: KVMError.self) { _ = try system.createVM() }
    #expect(create_vm_failures_left() == 92)
    // Any other error is told at once.
    fail_create_vm(EMFILE, 2)
    #expect(throws: KVMError.self) { _ = try system.createVM() }
    #expect(create_vm_failures_left() == 1)
    fail_create_vm(0, 0)
  }

  /// Pitfall 2: clear before read, made to matter. The thread is held before it drains the signal, a second kick comes,
  /// and there is no last check that would see it: had the requests been read already, the kick would be lost.
  @Test func signalMaskDrainsTheSignalBeforeItTakesTheRequests() throws {
    try kickBetweenClearAndTake(.signalMask)
  }

  /// The same for the flag. In a process of its own: the store that clears it is caught by a fault handler.
  @Test(
    .disabled(
      if: is_thread_sanitizer(),
      "it hangs there: the sanitizer calls fault handlers from its own, and this one does not return at once"))
  func immediateExitIsClearedBeforeTheRequestsAreTaken() async {
    await #expect(processExitsWith: .success) {
      try InjectedFaultTests().kickBetweenClearAndTake(.immediateExit)
    }
  }

  private func kickBetweenClearAndTake(_ mechanism: ComparedMechanism) throws {
    let running = try RunningVCPU(.flat(EntryWindowTests.counter), mechanism: mechanism, path: .blind)
    defer { running.close() }
    defer { clear_release() }
    try running.become(.run)
    for _ in 0..<100 {
      // The guest counts, so the thread is in KVM_RUN.
      try running.waitUntilItCounts(at: EntryWindowTests.counterAddress)
      // Safe: the control block lives as long as the vCPU.
      unsafe clear_hold(running.vcpu.control.pointer, mechanism == .immediateExit)
      let first = try running.vcpu.request(goal: .run)
      try waitUntil("the thread stands there") { clear_is_holding() }
      let second = try running.vcpu.request(goal: .run)
      clear_release()
      for ticket in [first, second] {
        #expect(try running.vcpu.wait(for: ticket, untilNS: soon, resends: false).generation == ticket.generation)
      }
    }
    try running.expectAgreementWithKernel()
  }

  /// Pitfall 5: a thread that has ended is never signalled, however many are still kicking it; they are told. In a
  /// process of its own, where no other thread gets the same handle.
  @Test func aThreadThatHasEndedIsNeverSignalled() async {
    await #expect(processExitsWith: .success) {
      for _ in 0..<30 { try InjectedFaultTests.endWhileSixteenKick() }
    }
  }

  private static func endWhileSixteenKick() throws {
    let handle = Atomic<UInt>(0)
    let recorder = Recorder { _, _ in
      handle.store(UInt(pthread_self()), ordering: .releasing)
      return .resume
    }
    let running = try RunningVCPU(guest: "pio", handler: recorder)
    try running.become(.run)
    try waitUntil("the guest runs") { handle.load(ordering: .acquiring) != 0 }
    watch_signals(pthread_t(handle.load(ordering: .acquiring)))
    let before = watched_signals()
    while watched_signals() < before + 10 { _ = try running.vcpu.kick(timeoutNS: 30_000_000_000) }
    let errors = Mutex<[KickError]>([])
    let refused = Atomic<Int>(0)
    let isOver = Atomic<Bool>(false)
    let group = startThreads(16) { _ in
      var isTold = false
      while !isOver.load(ordering: .acquiring) {
        do throws(KickError) {
          _ = try running.vcpu.kick(timeoutNS: 30_000_000_000)
        } catch {
          if error != .ended { errors.withLock { $0.append(error) } }
          if !isTold { refused.add(1, ordering: .relaxed) }
          isTold = true
        }
      }
    }
    running.close()
    let signals = watched_signals()
    try waitUntil("all are told") { refused.load(ordering: .relaxed) == 16 }
    #expect(watched_signals() == signals)
    isOver.store(true, ordering: .releasing)
    group.wait()
    try #require(errors.withLock { $0 } == [])
    #expect(watched_signals() == signals)
  }
}
