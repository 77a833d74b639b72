import ComparedKicks
import GuestImages
import KVM
import LinuxSupport
import Testing
import VCPURuntime

@testable import MachineRuntime

/// Solo5 unikernels of our own, each run on the real KVM.
@Suite(.serialized, .enabled(if: Solo5Guests.areAvailable)) struct Solo5RunTests {
  @Test func helloKnowsItsCommandLineItsMemoryAndTheTime() throws {
    let (output, stop) = try Solo5Guests.run(Solo5Guests.image("hello", "world"), memoryMiB: 5)
    #expect(stop == .guest(.exited(code: 0)))
    // Memory comes in pieces of 2 MiB.
    #expect(
      output == """
        Hello, world!
        memory 0x0000000000400000
        end 0x0000000000102000
        clocks run

        """)
  }

  @Test(arguments: ["you", "", String(repeating: "x", count: 8191)])
  func helloIsToldAnotherCommandLineBeforeItStarts(_ commandLine: String) throws {
    let changes = Changes()
    let machine = try RealVM.make(Solo5Guests.image("hello", "world"), changes: changes)
    defer { machine.destroy() }
    try machine.setArguments(GuestArguments(commandLine: commandLine))
    try machine.start(untilNS: RealVM.soon)
    #expect(changes.waitForStop() == .guest(.exited(code: 0)))
    #expect(machine.output.hasPrefix("Hello, \(commandLine)!\n"))
  }

  @Test func commandLinesThatDoNotFitAreRefused() throws {
    let machine = try RealVM.make(Solo5Guests.image("hello", nil))
    defer { machine.destroy() }
    #expect(throws: MachineControlError.self) {
      try machine.setArguments(GuestArguments(commandLine: String(repeating: "x", count: 8192)))
    }
    #expect(throws: MachineControlError.self) { try machine.setArguments(GuestArguments(commandLine: "a\0b")) }
  }

  @Test(arguments: [(0, 0), (1, 1), (255, 255), (256, 0), (0xFFFF_FFFF, 255)])
  func haltTellsTheStatusAsAProcessDoes(status: Int, code: Int) throws {
    let (_, stop) = try Solo5Guests.run(Solo5Guests.probe("h\(String(status, radix: 16))"))
    #expect(stop == .guest(.exited(code: UInt8(code))))
  }

  /// What a structure reads after a call: its five words.
  private func words(_ output: String) -> [UInt64] {
    output.split(separator: "\n").compactMap { $0.hasPrefix("0x") ? UInt64($0.dropFirst(2), radix: 16) : nil }
  }

  @Test func pollWaitsAsLongAsItIsTold() throws {
    let before = MonotonicClock.now()
    // 50 ms; the answer is that nothing is ready.
    let (output, stop) = try Solo5Guests.run(Solo5Guests.probe("c3,2faf080,7,7,7"))
    #expect(MonotonicClock.now() - before >= 50_000_000)
    #expect(stop == .guest(.exited(code: 0)))
    #expect(words(output) == [0x2FAF080, 0, 0, 7, .max])
  }

  /// A sleeping guest is there for everyone but itself: kicked, paused, looked at, resumed and stopped.
  @Test(arguments: ComparedMechanism.sound) func sleepersAnswer(_ mechanism: ComparedMechanism) throws {
    let changes = Changes()
    let image = try Solo5Guests.probe("c3,ffffffffffffffff h1")
    let machine = try RealVM.make(image, mechanism: mechanism, changes: changes)
    defer { machine.destroy() }
    try machine.start(untilNS: RealVM.soon)
    while machine.counts.exits["io", default: 0] == 0 {
      _ = try machine.requestKicks(vcpu: nil).wait(untilNS: RealVM.soon)
    }
    for _ in 0..<50 {
      #expect(try machine.requestKicks(vcpu: nil).wait(untilNS: RealVM.soon).count == 1)
      try machine.pause(untilNS: RealVM.soon)
      // The call is made: the instruction is complete.
      let (general, _) = try machine.registers(vcpu: 0, untilNS: RealVM.soon)
      #expect(general.instructionPointer > 0x100000)
      try machine.resume(untilNS: RealVM.soon)
      #expect(machine.state == .running)
    }
    #expect(machine.counts.exits["io"] == 1)
    try machine.stop(untilNS: RealVM.soon)
    #expect(changes.waitForStop() == .killed)
  }

  @Test func aDeadlineEndsASleep() throws {
    let (_, stop) = try Solo5Guests.run(Solo5Guests.probe("c3,ffffffffffffffff"), deadlineNS: 50_000_000)
    #expect(stop == .deadline)
  }

  @Test func kicksDoNotShortenASleep() throws {
    let changes = Changes()
    let machine = try RealVM.make(Solo5Guests.probe("c3,5f5e100"), changes: changes)
    defer { machine.destroy() }
    let before = MonotonicClock.now()
    try machine.start(untilNS: RealVM.soon)
    while machine.state == .running { _ = try? machine.requestKicks(vcpu: nil).wait(untilNS: RealVM.soon) }
    #expect(MonotonicClock.now() - before >= 100_000_000)
    #expect(changes.waitForStop() == .guest(.exited(code: 0)))
  }

  @Test func disksReadWhatTheyHoldAndKeepWhatIsWritten() throws {
    // Reads 512 bytes from 512 on to 0x180000, writes them to 1024, reads those to 0x181000 and prints a word of them.
    let (output, stop) = try Solo5Guests.run(
      Solo5Guests.probe(
        "c5,1,200,180000,200 r180008 w180008,1234 c4,1,400,180000,200 c5,1,400,181000,200 r181008 r181010"))
    #expect(stop == .guest(.exited(code: 0)))
    let found = words(output)
    #expect(found.dropFirst(4).first == 0xFFFF_FFFF_0000_0000)
    #expect(found.dropFirst(5).first == 0x0F0E_0D0C_0B0A_0908)
    #expect(found.suffix(2) == [0x1234, 0x1716_1514_1312_1110])
  }

  @Test func whatIsWrittenToADiskIsSeenByNobodyElse() throws {
    let image = try Solo5Guests.probe("w180000,77 c4,1,0,180000,200 c5,1,0,181000,200 r181000")
    for _ in 0..<2 {
      let machine = try RealVM.make(image)
      machine.destroy()
      let (output, _) = try Solo5Guests.run(image)
      #expect(words(output).last == 0x77)
    }
    let (output, _) = try Solo5Guests.run(Solo5Guests.probe("c5,1,0,181000,200 r181000"))
    #expect(words(output).last == 0x0706_0504_0302_0100)
  }

  /// A guest may write as much to its disks as it has memory: 2 MiB of the 3 here.
  @Test func whatIsWrittenToDisksIsBounded() throws {
    let disk = [UInt8](repeating: 0, count: 3 << 20)
    // 512 KiB each, of which the fifth is too much; what was written before may be written over.
    let places = ["0", "80000", "100000", "180000", "200000", "100000"]
    let calls = places.map { "c4,1,\($0),100000,80000" }
    let (output, _) = try Solo5Guests.run(Solo5Guests.probe(calls.joined(separator: " "), disk: disk))
    let statuses = words(output).enumerated().filter { $0.offset % 5 == 4 }.map { $0.element & 0xFFFF_FFFF }
    #expect(statuses == [0, 0, 0, 0, 3, 0])
  }

  struct Transfer: Sendable, CustomTestStringConvertible {
    var call = "c5,1,0,180000,200"
    var status: UInt32 = 0
    var testDescription: String { call }
  }

  static let transfers = [
    Transfer(call: "c5,1,3e00,180000,200"),
    Transfer(call: "c5,1,3fff,180000,1"),
    Transfer(call: "c5,1,0,180000,0"),
    Transfer(call: "c5,1,4000,180000,200", status: 2),
    Transfer(call: "c4,1,4000,180000,0", status: 2),
    Transfer(call: "c5,1,3e01,180000,200", status: 2),
    Transfer(call: "c4,1,0,180000,4001", status: 2),
    Transfer(call: "c4,1,ffffffffffffffff,180000,200", status: 2),
    Transfer(call: "c5,1,200,180000,fffffffffffffe01", status: 2),
    Transfer(call: "c5,0,0,180000,200", status: 2),
    Transfer(call: "c4,2,0,180000,200", status: 2),
    Transfer(call: "c4,ffffffffffffffff,0,180000,200", status: 2),
    Transfer(call: "c6,1,180000,200", status: 2),
    Transfer(call: "c7,1,180000,200", status: 2),
  ]

  @Test(arguments: transfers) func transfersOutsideADiskAreRefused(_ transfer: Transfer) throws {
    let (output, stop) = try Solo5Guests.run(Solo5Guests.probe(transfer.call))
    #expect(stop == .guest(.exited(code: 0)))
    #expect(words(output).last.map { UInt32(truncatingIfNeeded: $0) } == transfer.status)
  }

  /// What the unikernel's segments do not allow, and all below them, faults; without a handler that is the end.
  @Test(arguments: ["w100000,1", "w101000,1", "w10000,1", "r0", "wffff,1", "r1000", "r2000", "r200000", "x0"])
  func pagesHaveThePermissionsOfTheirSegments(_ access: String) throws {
    let (output, stop) = try Solo5Guests.run(Solo5Guests.probe(access))
    guard case .guest(.crashed(let detail)) = stop else {
      Issue.record("\(String(describing: stop))")
      return
    }
    #expect(detail.hasPrefix("triple fault"))
    #expect(output == "")
  }

  @Test func otherPortsAndHolesAreSilent() throws {
    let (output, stop) = try Solo5Guests.run(
      Solo5Guests.probe("i3f8 bf4,0 bcfe,1 o600,0 b3f8,41 m rd0000000 wd0000000,1 i500 b510,1"))
    #expect(stop == .guest(.exited(code: 0)))
    #expect(words(output) == [0xFFFF_FFFF, .max, 0xFFFF_FFFF])
    #expect(output.hasSuffix("done\n"))
  }
}
