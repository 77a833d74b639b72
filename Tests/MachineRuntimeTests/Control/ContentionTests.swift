import CHeldEntry
import ComparedKicks
import Dispatch
import Foundation
import LinuxSupport
import Synchronization
import TestSupport
import Testing

@testable import MachineRuntime
@testable import VCPURuntime

/// Several vCPUs, and everybody at once.
@Suite(.serialized, .enabled(if: RealVM.isAvailable)) struct ContentionTests {
  /// How a round of pulling ends: in the midst of it, all that are left are told.
  enum Ending: CaseIterable { case pause, stop, destroy }

  /// Kicks, pause and resume from sixteen threads at once, in the end a stop or a destruction in the middle of it all.
  /// Everybody is answered or told why not, and every vCPU's count agrees with the kernel's. (Pitfalls 3, 5 and 7.)
  @Test(arguments: ComparedMechanism.sound, Ending.allCases) func everybodyPullsAtOnce(
    _ mechanism: ComparedMechanism, _ ending: Ending
  ) throws {
    for guest in ["spin", "pio", "mmio"] {
      let machine = try RealVM.make(guest, vcpus: 2, mechanism: mechanism)
      try machine.start(untilNS: RealVM.soon)
      let isMidway = DispatchSemaphore(value: 0)
      let answered = Atomic<UInt64>(0)
      let unexpected = Mutex<[MachineControlError]>([])
      let group = DispatchGroup()
      for thread in 0..<16 {
        group.enter()
        Thread.detachNewThread {
          for step in 0..<24 {
            if thread == 0, step == 12 { isMidway.signal() }
            do throws(MachineControlError) {
              if thread == 1, step == 12, ending == .stop { try machine.stop(untilNS: RealVM.soon) }
              switch (thread + step) % 4 {
              case 0: try machine.pause(untilNS: RealVM.soon)
              case 1: try machine.resume(untilNS: RealVM.soon)
              default:
                let kicks = try machine.requestKicks(vcpu: nil)
                let outcomes = try kicks.wait(untilNS: RealVM.soon)
                kicks.count(outcomes)
                answered.add(UInt64(outcomes.count), ordering: .relaxed)
              }
            } catch {
              switch error {
              case .deleted where ending == .destroy, .invalidState where ending != .pause: break
              default: unexpected.withLock { $0.append(error) }
              }
            }
          }
          group.leave()
        }
      }
      // Whoever came to nothing before it is midway ends here too.
      isMidway.wait()
      if ending == .destroy { machine.destroy() }
      group.wait()
      #expect(unexpected.withLock { $0 } == [])
      if ending == .pause {
        try machine.resume(untilNS: RealVM.soon)
        try machine.pause(untilNS: RealVM.soon)
        #expect(machine.vcpuStatistics.allSatisfy { $0.state == .paused })
      }
      for snapshot in machine.vcpuStatistics {
        #expect(snapshot.exits["intr", default: 0] == snapshot.kernel["signal_exits", default: 0])
      }
      #expect(machine.vcpuStatistics.isEmpty == (ending == .destroy))
      if ending != .destroy { machine.destroy() }
      let counts = machine.counts
      #expect(counts.exits["intr", default: 0] == counts.kernelSignalExits)
      let kicks = counts.kicks.values.reduce(0, +)
      // Whoever is answered while the VM is taken apart may count too late for its last sum.
      #expect(
        kicks == answered.load(ordering: .relaxed) || ending == .destroy && kicks <= answered.load(ordering: .relaxed))
    }
  }

  /// Pitfall 8: to kick many, signal all first, then wait for all. One vCPU is held where it cannot answer; the others
  /// must have answered while it stands there. In a process of its own, since the hold is for every such vCPU.
  @Test func aVCPUThatDoesNotAnswerDelaysNoOther() async {
    await #expect(processExitsWith: .success) {
      let machine = try RealVM.make("spin", vcpus: 4)
      defer { machine.destroy() }
      defer { held_entry_release() }
      let first = try machine.vcpu(0)
      // Safe: its thread is parked, and looks at it only after the next request.
      unsafe first.control.pointer.pointee.entry = held_entry()
      try machine.start(untilNS: RealVM.soon)
      for round in 0..<20 {
        held_entry_hold()
        _ = try first.request()
        try waitUntil("the vCPU is held") { held_entry_is_holding() }
        let isOver = DispatchSemaphore(value: 0)
        if round % 2 == 0 {
          let published = Mutex<PendingKicks?>(nil)
          Thread.detachNewThread {
            if let kicks = try? machine.requestKicks(vcpu: nil) { published.withLock { $0 = kicks } }
            isOver.signal()
          }
          try #require(isOver.wait(timeout: .now() + 30) == .success, "publishing waits for an answer")
          let kicks = try #require(published.withLock { $0 })
          for request in kicks.requests.dropFirst() {
            _ = try request.vcpu.wait(for: request.ticket.get(), untilNS: RealVM.soon)
          }
          // Who is notified waits for the one that is held, and for no other.
          let isNotified = DispatchSemaphore(value: 0)
          let notice = kicks.notify { isNotified.signal() }
          #expect(held_entry_is_holding())
          #expect(isNotified.wait(timeout: .now()) == .timedOut)
          held_entry_release()
          #expect(isNotified.wait(timeout: .now() + 30) == .success)
          #expect(!notice.cancel())
          #expect(try kicks.wait(untilNS: 0).count == 4)
        } else {
          Thread.detachNewThread {
            if (try? machine.pause(untilNS: RealVM.soon)) != nil { isOver.signal() }
          }
          try waitUntil("the other vCPUs are paused") {
            machine.vcpuStatistics.dropFirst().allSatisfy { $0.state == .paused }
          }
          #expect(held_entry_is_holding())
          held_entry_release()
          try #require(isOver.wait(timeout: .now() + 30) == .success)
          try machine.resume(untilNS: RealVM.soon)
        }
      }
    }
  }
}
