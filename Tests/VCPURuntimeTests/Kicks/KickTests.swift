import CKVM
import ComparedKicks
import Dispatch
import Foundation
import GuestImages
import LinuxSupport
import Synchronization
import Testing

@testable import VCPURuntime

/// The kick protocol on the real KVM. Pitfalls, here and in the other suites, are numbered as in KickProtocol.md.
@Suite(.serialized, .enabled(if: RealKVM.isAvailable)) struct KickTests {
  /// Pitfall 1: flag without signal cannot stop a running guest; signal without flag is lost in the entry window.
  @Test(arguments: ComparedMechanism.sound) func everyKickOfASpinningGuestIsAcknowledged(_ mechanism: ComparedMechanism)
    throws
  {
    let running = try RunningVCPU(guest: "spin", mechanism: mechanism)
    defer { running.close() }
    try running.become(.run)
    var last: UInt64 = 0
    for _ in 0..<5_000 {
      let outcome = try running.vcpu.kick(timeoutNS: 30_000_000_000)
      #expect(outcome.generation > last)
      last = outcome.generation
      // It may have been out of KVM_RUN already.
      #expect(outcome.latencyNS > 0 || outcome.phase == .host)
    }
    try running.expectAgreementWithKernel()
  }

  /// Pitfall 9: where a kick landed is known: the kernel's own count tells guest from entry, and a parked vCPU needs no
  /// signal.
  @Test(arguments: ComparedMechanism.sound) func phasesAreWhatHappened(_ mechanism: ComparedMechanism) throws {
    let running = try RunningVCPU(guest: "spin", mechanism: mechanism)
    defer { running.close() }
    // Not sent again: on a busy host the thread, woken, may not have run within that time.
    let parked = try running.vcpu.wait(for: try running.vcpu.request(), untilNS: soon, resends: false)
    #expect(parked.phase == .parked)
    #expect(parked.signalsSent == 0)
    #expect(parked.signalLatencyNS == nil)
    try running.become(.run)
    let before = running.vcpu.kernelSignalExits
    let landed = try running.kickInGuest()
    #expect(landed.signalsSent >= 1 || landed.coalesced)
    #expect(running.vcpu.kernelSignalExits > before)
    if mechanism != .signalMask, !landed.coalesced {
      #expect(try #require(landed.signalLatencyNS) <= landed.latencyNS)
    }
    try running.become(.pause)
    #expect(try running.vcpu.kick(timeoutNS: 30_000_000_000).phase == .parked)
  }

  /// Pitfall 3: acknowledged by generation: a late answer does not acknowledge the next kick. A vCPU held up in user
  /// space gives a typed error at the deadline, the signal is sent again meanwhile, and the phase is told as host.
  @Test func aKickThatIsNotAnsweredTimesOutAndItsLateAnswerIsNotTakenForTheNext() throws {
    let held = try HeldVCPU()
    let running = held.running
    defer { held.close() }
    let late = try running.vcpu.request()
    #expect(throws: KickError.self) {
      try running.vcpu.wait(for: late, untilNS: MonotonicClock.now() + 50_000_000)
    }
    let next = try running.vcpu.request()
    #expect(next.coalesced)
    held.letGo()
    let answered = try running.vcpu.wait(for: next, untilNS: soon)
    #expect(answered.generation == next.generation)
    #expect(answered.phase == .host)
    #expect(try running.vcpu.wait(for: late, untilNS: soon).generation == late.generation)
  }

  /// Pitfall 4: coalescing: many kickers, one signal at a time, and each of them answered.
  @Test(arguments: ComparedMechanism.sound) func sixteenKickersAreAllAnswered(_ mechanism: ComparedMechanism) throws {
    let running = try RunningVCPU(guest: "spin", mechanism: mechanism)
    defer { running.close() }
    try running.become(.run)
    let answered = Atomic<Int>(0)
    startThreads(16) { _ in
      for _ in 0..<200 where (try? running.vcpu.kick(timeoutNS: 30_000_000_000)) != nil {
        answered.add(1, ordering: .relaxed)
      }
    }.wait()
    #expect(answered.load(ordering: .relaxed) == 3_200)
    #expect(running.vcpu.counts.kicks.values.reduce(0, +) == 3_200)
    try running.expectAgreementWithKernel()
  }

  /// Pitfall 13: kicks in a storm still let the guest make progress.
  @Test func aGuestGoesOnCountingInAStormOfKicks() throws {
    let running = try RunningVCPU(guest: "spin")
    defer { running.close() }
    try running.become(.run)
    let isOver = Atomic<Bool>(false)
    let group = DispatchGroup()
    for _ in 0..<4 {
      DispatchQueue.global().async(group: group) {
        while !isOver.load(ordering: .relaxed) { _ = try? running.vcpu.kick(timeoutNS: 30_000_000_000) }
      }
    }
    var counts: [UInt64] = []
    for _ in 0..<5 {
      let kicks = running.vcpu.counts.kicks.values.reduce(0, +)
      while running.vcpu.counts.kicks.values.reduce(0, +) < kicks + 500 {
        _ = try running.vcpu.kick(timeoutNS: 30_000_000_000)
      }
      try running.become(.pause)
      counts.append(try #require(try running.vcpu.registers()).0.rax)
      try running.become(.run)
    }
    isOver.store(true, ordering: .relaxed)
    group.wait()
    #expect(zip(counts, counts.dropFirst()).allSatisfy { $0 < $1 }, "\(counts)")
  }

  /// Pitfall 13: a kick is not published before the vCPU has had the time that pacing leaves it: 20 µs since it was last
  /// out, and twice as much each time that its guest did not get to run. Only this thread kicks, so what the hints say
  /// before a kick is what it is paced by.
  @Test func noKickIsPublishedBeforeTheGuestHasHadItsTime() throws {
    let running = try RunningVCPU(guest: "spin")
    defer { running.close() }
    try running.become(.run)
    _ = try running.kickInGuest()
    for _ in 0..<2_000 {
      let due = running.vcpu.control.lastOutNS + 20_000 << min(running.vcpu.control.fruitlessKicks, 8)
      let ticket = try running.vcpu.request()
      #expect(MonotonicClock.now() >= due)
      _ = try running.vcpu.wait(for: ticket, untilNS: soon)
    }
  }

  /// Pitfall 10: an unfinished access is completed before registers are read: each port read that was served is in the
  /// registers, counted by the guest or about to be.
  @Test(arguments: ComparedMechanism.sound) func pauseCompletesAPortReadBeforeRegistersAreRead(
    _ mechanism: ComparedMechanism
  )
    throws
  {
    // xor %eax, %eax; xor %ebx, %ebx; nop; again (5): in $0x80, %al; (7) inc %rbx; jmp again
    let code: [UInt8] = [0x31, 0xC0, 0x31, 0xDB, 0x90, 0xE4, 0x80, 0x48, 0xFF, 0xC3, 0xEB, 0xF9]
    let recorder = Recorder()
    let running = try RunningVCPU(
      .flat(FlatImage(mode: .long64Ring3, code: code)), mechanism: mechanism, handler: recorder)
    defer { running.close() }
    try running.become(.run)
    for _ in 0..<200 {
      try running.become(.pause)
      let general = try #require(try running.vcpu.registers()).0
      let isUncounted = general.instructionPointer == 0x10007
      #expect(general.rbx + (isUncounted ? 1 : 0) == UInt64(recorder.portReads))
      if recorder.portReads > 0 { #expect(general.rax & 0xFF == 0x5A) }
      try running.become(.run)
    }
    #expect(running.vcpu.state == .running)
  }

  /// Pitfall 5: a vCPU that has ended refuses requests and is never signalled again, whoever still holds it.
  @Test func anEndedVCPURefusesKicksWhileOthersAreStillKickingIt() throws {
    for _ in 0..<50 {
      let recorder = Recorder()
      let running = try RunningVCPU(guest: "spin", handler: recorder)
      try running.become(.run)
      let group = DispatchGroup()
      for _ in 0..<4 {
        DispatchQueue.global().async(group: group) {
          while (try? running.vcpu.kick(timeoutNS: 30_000_000_000)) != nil {}
        }
      }
      running.close()
      group.wait()
      try #require(throws: KickError.ended) { try running.vcpu.request() }
      #expect(recorder.parkedRuns == [0])
    }
  }

  /// Exits of a guest are told by what the kernel said: exit code and triple fault, and where that was.
  @Test func aGuestThatEndsSaysHow() throws {
    func stop(of code: [UInt8]) throws -> VCPUEnd {
      let recorder = Recorder { port, _ in port == 0xF4 ? .end : .resume }
      let running = try RunningVCPU(.flat(FlatImage(mode: .long64Ring3, code: code)), handler: recorder)
      defer { running.close() }
      try running.become(.run)
      try waitUntil("the guest ends") { !recorder.stops.isEmpty }
      #expect(running.vcpu.state == .halted)
      return try #require(recorder.stops.first)
    }
    #expect(try stop(of: [0xB0, 0x07, 0xE6, 0xF4]) == .exited(code: 7))
    guard case .crashed(let detail) = try stop(of: [0x90, 0x0F, 0x0B]) else {
      Issue.record("an invalid instruction is no crash")
      return
    }
    let places = [
      "triple fault at 0x10001 (cr2 0x0, cr3 0x1000)",
      "triple fault, where is not known: this host's KVM resets the processor after a triple fault",
    ]
    #expect(places.contains(detail), "\(detail)")
  }
}

/// What a kicker that is preempted between publishing and signalling must not break.
@Suite(.serialized, .enabled(if: RealKVM.isAvailable)) struct PreemptedKickerTests {
  /// The end's request shares the signal of a kicker that has not sent it yet. `join` must leave that kicker the thread
  /// to signal until it has been answered; it once took it away first, and waited for ever.
  @Test func joinWaitsForAKickerThatHasPublishedAndNotYetSignalled() throws {
    let running = try RunningVCPU(guest: "spin")
    try running.become(.run)
    _ = try running.kickInGuest()
    var found = running.vcpu.control.request
    var next = RequestWord.initial
    repeat {
      next = try #require(found.requesting(.kick, goal: nil)).word
    } while !running.vcpu.control.exchangeRequest(&found, for: next)
    let joined = DispatchSemaphore(value: 0)
    Thread.detachNewThread {
      running.close()
      joined.signal()
    }
    #expect(joined.wait(timeout: .now() + 30) == .success)
  }
}
