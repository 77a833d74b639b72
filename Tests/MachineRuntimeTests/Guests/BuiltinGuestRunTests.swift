import ComparedKicks
import GuestImages
import LinuxSupport
import Testing
import VCPURuntime

@testable import MachineRuntime

/// The built-in guests, each run on the real KVM.
@Suite(.serialized, .enabled(if: RealVM.isAvailable)) struct BuiltinGuestRunTests {
  @Test(arguments: ComparedMechanism.sound) func helloPrintsAndExitsWithZero(_ mechanism: ComparedMechanism) throws {
    let changes = Changes()
    let machine = try RealVM.make("hello", mechanism: mechanism, changes: changes)
    defer { machine.destroy() }
    #expect(machine.state == .ready)
    try machine.start(untilNS: RealVM.soon)
    #expect(changes.waitForStop() == .guest(.exited(code: 0)))
    #expect(machine.state == .stopped(.guest(.exited(code: 0))))
    let output = machine.console.read(from: 0, limit: 4096)
    #expect(String(decoding: output.bytes, as: UTF8.self) == "Hello from vmpool\n")
  }

  @Test func echoSendsBackWhatItIsGivenUntilControlD() throws {
    let changes = Changes()
    let machine = try RealVM.make("echo", changes: changes)
    defer { machine.destroy() }
    try machine.start(untilNS: RealVM.soon)
    #expect(try machine.offerInput(Array("ping\n".utf8)) == 5)
    #expect(try machine.offerInput([0x04]) == 1)
    #expect(changes.waitForStop() == .guest(.exited(code: 0)))
    #expect(machine.console.read(from: 0, limit: 100).bytes == Array("ping\n".utf8))
  }

  @Test(arguments: [1, 2, 8]) func haltStopsOnceEveryVCPUHasHalted(vcpus: Int) throws {
    let changes = Changes()
    let machine = try RealVM.make("halt", vcpus: vcpus, changes: changes)
    defer { machine.destroy() }
    try machine.start(untilNS: RealVM.soon)
    #expect(changes.waitForStop() == .guest(.halted))
    #expect(machine.counts.exits["hlt"] == UInt64(vcpus))
  }

  @Test(arguments: [("pio", "io"), ("mmio", "mmio")]) func stormsExitWithTheirReason(guest: String, reason: String)
    throws
  {
    let machine = try RealVM.make(guest, vcpus: 2)
    defer { machine.destroy() }
    try machine.start(untilNS: RealVM.soon)
    while machine.counts.exits[reason, default: 0] < 100 {
      let kicks = try machine.requestKicks(vcpu: nil)
      #expect(try kicks.wait(untilNS: RealVM.soon).count == 2)
    }
    try machine.pause(untilNS: RealVM.soon)
    // The count in RBX is of completed instructions, so it must be the count of exits exactly once paused.
    for snapshot in machine.vcpuStatistics {
      let (general, _) = try machine.registers(vcpu: snapshot.index, untilNS: RealVM.soon)
      #expect(general.rbx.distance(to: snapshot.exits[reason, default: 0]).magnitude <= 1)
    }
  }

  @Test func spinCountsOnBetweenKicksAndPauses() throws {
    let machine = try RealVM.make("spin", vcpus: 2)
    defer { machine.destroy() }
    try machine.start(untilNS: RealVM.soon)
    var last: [UInt64] = [0, 0]
    for _ in 0..<20 {
      try machine.pause(untilNS: RealVM.soon)
      for index in 0..<2 {
        let (general, _) = try machine.registers(vcpu: index, untilNS: RealVM.soon)
        #expect(general.rax >= last[index])
        last[index] = general.rax
      }
      try machine.resume(untilNS: RealVM.soon)
      _ = try machine.requestKicks(vcpu: nil).wait(untilNS: RealVM.soon)
    }
    #expect(last.allSatisfy { $0 > 0 })
  }

  @Test func deadlineStopsAGuestThatOnlyAKickGetsOut() throws {
    let changes = Changes()
    let machine = try RealVM.make("spin", vcpus: 2, deadlineNS: 20_000_000, changes: changes)
    defer { machine.destroy() }
    try machine.start(untilNS: RealVM.soon)
    #expect(changes.waitForStop() == .deadline)
  }

  /// Whoever starts it need not have the time to see it start.
  @Test func deadlineHoldsForAStartThatNobodyWaitsFor() throws {
    let changes = Changes()
    let machine = try RealVM.make("spin", vcpus: 2, deadlineNS: 20_000_000, changes: changes)
    defer { machine.destroy() }
    // It may be acknowledged at once, or not.
    try? machine.start(untilNS: 0)
    #expect(changes.waitForStop() == .deadline)
  }
}
