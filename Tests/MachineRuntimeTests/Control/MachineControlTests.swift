import Dispatch
import Foundation
import GuestImages
import LinuxSupport
import Synchronization
import Testing
import VCPURuntime

@testable import MachineRuntime

/// Control of real VMs: what is idempotent, what is refused, and what happens when everybody pulls at once.
@Suite(.serialized, .enabled(if: RealVM.isAvailable)) struct MachineControlTests {
  @Test func operationsAreIdempotentAndImpossibleOnesAreRefusedWithTheState() throws {
    let machine = try RealVM.make("spin")
    defer { machine.destroy() }
    #expect(throws: MachineControlError.invalidState(operation: "pause", .ready)) {
      try machine.pause(untilNS: RealVM.soon)
    }
    for _ in 0..<2 { try machine.start(untilNS: RealVM.soon) }
    for _ in 0..<2 { try machine.pause(untilNS: RealVM.soon) }
    #expect(throws: MachineControlError.invalidState(operation: "start", .paused)) {
      try machine.start(untilNS: RealVM.soon)
    }
    for _ in 0..<2 { try machine.resume(untilNS: RealVM.soon) }
    #expect(throws: MachineControlError.invalidState(operation: "read the registers of", .running)) {
      try machine.registers(vcpu: 0, untilNS: RealVM.soon)
    }
    for _ in 0..<2 { try machine.stop(untilNS: RealVM.soon) }
    #expect(machine.state == .stopped(.killed))
    #expect(throws: MachineControlError.invalidState(operation: "kick", .stopped(.killed))) {
      try machine.requestKicks(vcpu: nil)
    }
  }

  /// An operation that finds the VM as it ought to be publishes nothing, so it neither disturbs the guest nor waits for
  /// pacing under the VM's lock.
  @Test func anOperationThatChangesNothingAsksNothingOfTheVCPUs() throws {
    let machine = try RealVM.make("spin", vcpus: 2)
    defer { machine.destroy() }
    let vcpus = try (0..<2).map { index in try machine.vcpu(index) }
    func published() -> [UInt64] { vcpus.map(\.published) }
    try machine.start(untilNS: RealVM.soon)
    var before = published()
    for _ in 0..<100 {
      try machine.start(untilNS: RealVM.soon)
      try machine.resume(untilNS: RealVM.soon)
    }
    #expect(published() == before)
    try machine.pause(untilNS: RealVM.soon)
    before = published()
    for _ in 0..<100 { try machine.pause(untilNS: RealVM.soon) }
    #expect(published() == before)
    try machine.stop(untilNS: RealVM.soon)
    before = published()
    for _ in 0..<100 { try machine.stop(untilNS: RealVM.soon) }
    #expect(published() == before)
  }

  /// A request that is waited for again is not published again: the operation that came between stays in force.
  @Test func waitingAgainPublishesNothing() throws {
    let machine = try RealVM.make("spin", vcpus: 2)
    defer { machine.destroy() }
    try machine.start(untilNS: RealVM.soon)
    for _ in 0..<100 {
      let pause = try machine.requestPause()
      let resume = try machine.requestResume()
      for _ in 0..<2 {
        try pause.wait(untilNS: RealVM.soon)
        try resume.wait(untilNS: RealVM.soon)
      }
      #expect(machine.state == .running)
      #expect(machine.vcpuStatistics.map(\.state) == [.running, .running])
    }
  }

  /// Registers can be read while the VM is paused, and when it has stopped, until it is taken apart: also those of a guest
  /// that has crashed.
  @Test func registersOfAStoppedVMAreReadable() throws {
    let machine = try RealVM.make("spin", vcpus: 2)
    #expect(throws: MachineControlError.invalidState(operation: "read the registers of", .ready)) {
      try machine.requestRegisters(vcpu: 0)
    }
    try machine.start(untilNS: RealVM.soon)
    try machine.pause(untilNS: RealVM.soon)
    let pending = try machine.requestRegisters(vcpu: 1)
    let paused = try pending.wait(untilNS: RealVM.soon)
    #expect(try pending.wait(untilNS: 0).0.instructionPointer == paused.0.instructionPointer)
    try machine.stop(untilNS: RealVM.soon)
    let stopped = try machine.registers(vcpu: 1, untilNS: RealVM.soon)
    #expect(stopped.0.named.map(\.value) == paused.0.named.map(\.value))
    machine.destroy()
    #expect(throws: MachineControlError.deleted) { try machine.registers(vcpu: 1, untilNS: RealVM.soon) }

    let changes = Changes()
    let image = GuestImage.flat(FlatImage(mode: .long64Ring3, code: [0x90, 0x0F, 0x0B]))
    let crashing = try RealVM.make(image, changes: changes)
    defer { crashing.destroy() }
    try crashing.start(untilNS: RealVM.soon)
    guard case .guest(.crashed) = changes.waitForStop() else {
      Issue.record("it has not crashed")
      return
    }
    let last = try crashing.registers(vcpu: 0, untilNS: RealVM.soon).0.instructionPointer
    // kvm_amd resets a processor after a triple fault.
    #expect(last == 0x10001 || last == 0xFFF0)
  }

  /// Asking for registers and resuming at once: they are those of the pause, or the answer is that the VM runs.
  @Test func registersAreThoseOfThePauseOrNone() throws {
    let machine = try RealVM.make("pio")
    defer { machine.destroy() }
    try machine.start(untilNS: RealVM.soon)
    for _ in 0..<200 {
      try machine.pause(untilNS: RealVM.soon)
      let first = try machine.registers(vcpu: 0, untilNS: RealVM.soon).0
      let pending = try machine.requestRegisters(vcpu: 0)
      let resume = try machine.requestResume()
      do throws(MachineControlError) {
        let second = try pending.wait(untilNS: RealVM.soon).0
        #expect(second.named.map(\.value) == first.named.map(\.value))
      } catch {
        #expect(error == .invalidState(operation: "read the registers of", .running))
      }
      try resume.wait(untilNS: RealVM.soon)
    }
  }

  /// A VM's threads bear its name, and the processor time of its vCPUs grows until it is taken apart, and stays.
  @Test func threadsBearTheVMsNameAndTheirTimesOutliveThem() async {
    await #expect(processExitsWith: .success) {
      let image = GuestImage.builtin(try #require(BuiltinGuest.named("spin")))
      let machine = try Machine(
        MachineConfiguration(
          image: image, vcpus: 2, memoryMiB: 2, mechanism: .immediateExit, name: "vm-0123456789ab4a60"),
        on: RealVM.system.get())
      // Threads give themselves their names.
      var names: Set<String> = []
      let named = RealVM.soon
      while !names.isSuperset(of: ["vm-0123456789/0\n", "vm-0123456789/1\n"]) {
        try #require(MonotonicClock.now() < named, "\(names)")
        let tasks = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task")
        names = Set(tasks.compactMap { try? String(contentsOfFile: "/proc/self/task/\($0)/comm", encoding: .utf8) })
      }
      #expect(machine.counts.runningNS == 0)
      try machine.start(untilNS: RealVM.soon)
      var last: UInt64 = 0
      for _ in 0..<20 {
        let deadline = RealVM.soon
        while machine.counts.runningNS <= last { try #require(MonotonicClock.now() < deadline) }
        last = machine.counts.runningNS
      }
      let waiting = machine.counts.waitingNS
      try machine.stop(untilNS: RealVM.soon)
      let stopped = machine.counts
      machine.destroy()
      #expect(stopped.runningNS >= last && machine.counts.runningNS >= stopped.runningNS)
      #expect(stopped.waitingNS >= waiting && machine.counts.waitingNS >= stopped.waitingNS)
    }
  }

  @Test func aVMThatWasNeverStartedCanBeStoppedAndDestroyed() throws {
    let machine = try RealVM.make("spin", vcpus: 8)
    try machine.stop(untilNS: RealVM.soon)
    #expect(machine.state == .stopped(.killed))
    machine.destroy()
    #expect(throws: MachineControlError.deleted) { try machine.statistics(of: 0) }
  }

  @Test func whatIsStartedAsleepIsRunningAndGoesWhenItIsWoken() throws {
    let machine = try RealVM.make("spin", vcpus: 2)
    defer { machine.destroy() }
    let wake = try machine.startAsleep()
    #expect(machine.state == .running)
    // It is paused, though nobody has acknowledged that yet.
    try? machine.pause(untilNS: 0)
    #expect(throws: MachineControlError.invalidState(operation: "start", .paused)) { try machine.startAsleep() }
    try? machine.resume(untilNS: 0)
    let kicks = try machine.requestKicks(vcpu: nil)
    wake.deliver()
    #expect(try kicks.wait(untilNS: RealVM.soon).count == 2)
    #expect(machine.vcpuStatistics.map(\.state) == [.running, .running])
  }

  @Test func aWakeThatIsLetGoOfIsDelivered() throws {
    let changes = Changes()
    let machine = try RealVM.make("halt", changes: changes)
    defer { machine.destroy() }
    _ = try machine.startAsleep()
    #expect(changes.waitForStop() == .guest(.halted))
  }

  @Test func aWakeThatComesTooLateFindsNobody() throws {
    let machine = try RealVM.make("spin")
    let wake = try machine.startAsleep()
    machine.destroy()
    wake.deliver()
    #expect(machine.state == .stopped(.killed))
  }

  @Test func changesAreAnnouncedInOrder() throws {
    let changes = Changes()
    let machine = try RealVM.make("spin", changes: changes)
    try machine.start(untilNS: RealVM.soon)
    try machine.pause(untilNS: RealVM.soon)
    try machine.resume(untilNS: RealVM.soon)
    machine.destroy()
    #expect(changes.all == [.running, .paused, .running, .stopped(.killed)])
  }

  @Test func countsOutliveTheVM() throws {
    let machine = try RealVM.make("spin")
    try machine.start(untilNS: RealVM.soon)
    let kicks = try machine.requestKicks(vcpu: nil)
    kicks.count(try kicks.wait(untilNS: RealVM.soon))
    machine.destroy()
    let counts = machine.counts
    #expect(counts.kicks.values.reduce(0, +) == 1)
    #expect(counts.exits["intr", default: 0] == counts.kernelSignalExits)
  }

  /// A thousand create-kick-delete rounds leave descriptors and threads as they were, and memory nearly so. In a
  /// process of its own, where nobody else makes VMs.
  @Test func roundsOfCreateKickDeleteLeaveNothingBehind() async {
    await #expect(processExitsWith: .success) {
      func round() throws {
        let machine = try RealVM.make("spin")
        try machine.start(untilNS: RealVM.soon)
        _ = try machine.requestKicks(vcpu: 0).wait(untilNS: RealVM.soon)
        machine.destroy()
      }
      for _ in 0..<100 { try round() }
      let before = try ProcessUse()
      for _ in 0..<1_000 { try round() }
      let after = try ProcessUse()
      #expect(after.vmDescriptors == 0 && after.vcpuThreads == 0)
      // Allocators keep some; a leak of one page a round would be eight times this.
      #expect(
        after.anonymousKiB < before.anonymousKiB + 512, "\(before.anonymousKiB) KiB → \(after.anonymousKiB) KiB")
    }
  }
}

/// What this process holds.
struct ProcessUse {
  let vmDescriptors: Int
  let vcpuThreads: Int
  /// Without what is mapped from files, of which more is read in as time goes by, and without huge pages: the kernel
  /// makes one of a few small ones when it likes, and counts the whole of it.
  let anonymousKiB: Int

  init() throws {
    let files = FileManager.default
    let descriptors = try files.contentsOfDirectory(atPath: "/proc/self/fd")
    vmDescriptors =
      descriptors.count { name in
        let target = (try? files.destinationOfSymbolicLink(atPath: "/proc/self/fd/" + name)) ?? ""
        return target.contains("kvm-v")
      }
    let threads = try files.contentsOfDirectory(atPath: "/proc/self/task")
    vcpuThreads =
      threads.count { thread in
        (try? String(contentsOfFile: "/proc/self/task/\(thread)/comm", encoding: .utf8))?.hasPrefix("vcpu/") ?? false
      }
    var sizes: [Substring: Int] = [:]
    let rollup = try String(contentsOfFile: "/proc/self/smaps_rollup", encoding: .utf8)
    for line in rollup.split(separator: "\n").dropFirst() {
      let words = line.split(separator: " ")
      sizes[words[0]] = Int(words[1])
    }
    anonymousKiB = try #require(sizes["Anonymous:"]) - #require(sizes["AnonHugePages:"])
  }
}
