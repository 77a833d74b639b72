import CHeldEntry
import CKVM
import ComparedKicks
import GuestImages
import LinuxSupport
import Testing

@testable import VCPURuntime

/// The race itself, made to happen every time: the vCPU's thread is held exactly between its last check of the request
/// word and KVM_RUN, and kicked there. (Pitfall 1: flag without signal, signal without flag.)
@Suite(.serialized, .enabled(if: RealKVM.isAvailable)) struct EntryWindowTests {
  /// again: incq 0x20000; jmp again — a guest whose progress can be seen without stopping it.
  static let counter = FlatImage(mode: .long64Ring3, code: [0x48, 0xFF, 0x04, 0x25, 0, 0, 2, 0, 0xEB, 0xF6])
  static let counterAddress: UInt64 = 0x20000

  private func held(_ mechanism: ComparedMechanism, _ body: (RunningVCPU) throws -> Void) throws {
    let running = try RunningVCPU(.flat(Self.counter), mechanism: mechanism, path: .held)
    defer { running.close() }
    defer { held_entry_release() }
    try running.become(.run)
    for _ in 0..<100 {
      // The guest counts, so the thread is in KVM_RUN: not on its way there, where it would be held with this kick.
      try running.waitUntilItCounts(at: Self.counterAddress)
      held_entry_hold()
      _ = try running.vcpu.kick(timeoutNS: 30_000_000_000)
      try waitUntil("the thread stands in the window") { held_entry_is_holding() }
      try body(running)
      held_entry_release()
    }
  }

  private func waitForHandler(_ running: RunningVCPU) throws {
    // Safe: the control block lives as long as the vCPU.
    try waitUntil("the handler runs") { unsafe ckvm_handler_ran(running.vcpu.control.pointer) }
  }

  @Test func immediateExitIsSavedByItsFlag() throws {
    try held(.immediateExit) { running in
      let ticket = try running.vcpu.request()
      try waitForHandler(running)
      held_entry_release()
      let outcome = try running.vcpu.wait(for: ticket, untilNS: soon, resends: false)
      #expect(outcome.phase == .entry)
      #expect(outcome.signalsSent == 1)
    }
  }

  @Test func ipFixupIsMovedOutOfTheWindow() throws {
    try held(.ipFixup) { running in
      let ticket = try running.vcpu.request()
      // Not released: the handler alone gets the thread out.
      let outcome = try running.vcpu.wait(for: ticket, untilNS: soon, resends: false)
      #expect(outcome.phase == .host)
      #expect(outcome.signalsSent == 1)
    }
  }

  /// The kernel takes a signal that was pending at entry for one that interrupted the guest, so the phase is `guest`.
  @Test func signalMaskIsSavedByTheSignalThatIsStillPending() throws {
    try held(.signalMask) { running in
      let ticket = try running.vcpu.request()
      held_entry_release()
      let outcome = try running.vcpu.wait(for: ticket, untilNS: soon, resends: false)
      #expect(outcome.phase == .guest)
      #expect(outcome.signalsSent == 1)
    }
  }

  /// The guest runs on, with a kick pending that nobody will ever answer.
  @Test func signalOnlyLosesTheKickEveryTime() throws {
    try held(.signalOnly) { running in
      let ticket = try running.vcpu.request()
      try waitForHandler(running)
      let before = try running.word(at: Self.counterAddress)
      held_entry_release()
      try waitUntil("the guest runs on") { try running.word(at: Self.counterAddress) >= before + 1_000 }
      #expect(throws: KickError.self) {
        try running.vcpu.wait(for: ticket, untilNS: MonotonicClock.now(), resends: false)
      }
      #expect(running.vcpu.state == .running)
      // Only sending the signal again helps.
      let outcome = try running.vcpu.wait(for: ticket, untilNS: soon)
      #expect(outcome.signalsSent >= 2)
    }
  }
}
