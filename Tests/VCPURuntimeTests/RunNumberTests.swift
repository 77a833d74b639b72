import ComparedKicks
import GuestImages
import LinuxSupport
import Synchronization
import Testing

@testable import VCPURuntime

/// A stopped vCPU that is reset runs again on the same thread, and says in which run what happened.
@Suite(.serialized, .enabled(if: RealKVM.isAvailable)) struct RunNumberTests {
  @Test(arguments: ComparedMechanism.sound) func aResetVCPURunsAgain(_ mechanism: ComparedMechanism) throws {
    let recorder = Recorder()
    let running = try RunningVCPU(guest: "spin", mechanism: mechanism, handler: recorder)
    defer { running.close() }
    for run in 0..<20 as Range<UInt64> {
      try running.become(.run)
      _ = try running.kickInGuest()
      try running.become(.stop)
      try running.become(.run)
      #expect(running.vcpu.state == .stopped, "a stopped vCPU is not started without a reset")
      #expect(recorder.parkedRuns == Array(0...run))
      try running.become(.ready)
      #expect(running.vcpu.state == .ready)
    }
    #expect(running.vcpu.counts.kernelSignalExits >= 20)
    try running.expectAgreementWithKernel()
  }

  /// Pitfall 12: its thread finds one batch that asks it to stop, while it stands parked for good by an earlier stop. The
  /// owner waits for the thread to say that it has stopped in this run, too.
  @Test func aRunThatIsOverBeforeItsThreadSawItIsParkedForGoodAsWell() throws {
    let recorder = Recorder()
    let running = try RunningVCPU(guest: "spin", handler: recorder)
    defer { running.close() }
    try running.become(.stop)
    for run in 1...20 as ClosedRange<UInt64> {
      for goal in [VCPUGoal.ready, .run, .pause] { _ = try running.vcpu.request(goal: goal, wakes: false) }
      let stop = try running.vcpu.request(goal: .stop, wakes: false)
      running.vcpu.wake()
      _ = try running.vcpu.wait(for: stop, untilNS: soon)
      #expect(recorder.parkedRuns == Array(0...run))
    }
  }

  /// A guest that ended in one run has not ended in the next.
  @Test func aGuestThatHaltedRunsAgainFromWhereItsRegistersSay() throws {
    let recorder = Recorder()
    let running = try RunningVCPU(guest: "halt", handler: recorder)
    defer { running.close() }
    let start = try #require(try running.vcpu.registers()).0
    for run in 1...3 {
      try running.become(.run)
      try waitUntil("the guest halts") { recorder.stops.count == run }
      try running.become(.stop)
      let errand = try running.vcpu.request { try? $0.set(start) }
      _ = try running.vcpu.wait(for: errand, untilNS: soon)
      try running.become(.ready)
    }
    #expect(recorder.stops == [.halted, .halted, .halted])
  }
}
