import ComparedKicks
import GuestImages
import TestSupport
import Testing

@testable import Benchmarks

/// The yardstick must be the same VM, or nothing is compared.
@Suite(.enabled(if: RealKVM.isAvailable)) struct BareVMTests {
  @Test(arguments: BenchmarkGuest.allCases) func hasTheVeryMemoryOfAMachine(guest: BenchmarkGuest) throws {
    let layout = try guest.image.layout(memoryBytes: 2 << 20, vcpus: 1)
    var expected = [UInt8](repeating: 0, count: 2 << 20)
    for segment in layout.segments {
      let bytes = try segment.bytes()
      expected.replaceSubrange(Int(segment.address)..<Int(segment.address) + bytes.count, with: bytes)
    }
    let vm = try BareHost().create(guest, vcpus: 1, memoryMiB: 2, mechanism: .immediateExit)
    defer { vm.destroy() }
    #expect(vm.memory(at: 0, count: 2 << 20) == expected)
  }

  @Test(arguments: ComparedMechanism.allCases) func standsStillWhileItIsParked(_ mechanism: ComparedMechanism) throws {
    let vm = try BareHost().create(.pio, vcpus: 2, memoryMiB: 2, mechanism: mechanism)
    defer { vm.destroy() }
    try vm.park()
    #expect(vm.exits() == 0)
    var seen: UInt64 = 0
    for _ in 0..<20 {
      try vm.start()
      while vm.exits() == seen { try vm.checkThatItRuns() }
      if mechanism != .signalOnly { #expect(try vm.kick(1, patienceNS: 60_000_000_000) != nil) }
      try vm.park()
      seen = vm.exits()
      // A parked vCPU answers as well.
      #expect(try vm.kick(0, patienceNS: 60_000_000_000) != nil)
      #expect(try vm.kickAll(patienceNS: 60_000_000_000))
      spin(forNS: 1_000_000)
      #expect(vm.exits() == seen)
    }
  }

  /// After a reset its memory is that of the template, to the byte, and the same run follows.
  @Test func isResetToItsTemplate() throws {
    let host = try BareHost()
    let vm = try host.create(TouchGuest.code(pages: 3), ring: 3, memoryMiB: 2, mechanism: .immediateExit)
    let memory = vm.memory(at: 0, count: 2 << 20)
    let template = try host.freeze(vm)
    vm.destroy()
    let clone = try template.clone(mechanism: .immediateExit)
    defer { clone.destroy() }
    #expect(clone.memory(at: 0, count: 2 << 20) == memory)
    for _ in 0..<3 {
      try clone.run()
      let written = [0x100000, 0x101000, 0x102000].map { clone.memory(at: $0, count: 1) }
      #expect(written == [[1], [1], [1]])
      #expect(try clone.reset() >= 3)
      #expect(clone.memory(at: 0, count: 2 << 20) == memory)
    }
  }

  @Test func saysThatItsGuestHasStopped() throws {
    let vm = try BareHost().create(.halt, vcpus: 1, memoryMiB: 2, mechanism: .immediateExit)
    defer { vm.destroy() }
    try vm.start()
    #expect(throws: BenchmarkError.self) { while true { try vm.checkThatItRuns() } }
  }
}
