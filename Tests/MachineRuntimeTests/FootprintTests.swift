import Foundation
import GuestImages
import GuestMemory
import Testing

@testable import MachineRuntime

/// What a VM can take of the host is known before it is made, and is given back with it.
struct FootprintTests {
  @Test func devicesWithInterruptsTakeDescriptors() throws {
    let minimal = Footprint(image: .builtin(try #require(BuiltinGuest.named("spin"))), vcpus: 2, memoryMiB: 3)
    // Both directions of a console are 128 KiB.
    #expect((minimal.memoryKiB, minimal.descriptors, minimal.mappings) == (3 << 10 + 128, 5, 7))
    let pc = Footprint(image: try BuiltGuest.named("multiboot"), vcpus: 1, memoryMiB: 4)
    #expect((pc.memoryKiB, pc.descriptors, pc.mappings) == (4 << 10 + 128, 4, 4))
  }

  /// Up to as much as the VM has memory, and what it takes to find it again.
  @Test(.enabled(if: Solo5Guests.areAvailable), arguments: [(1, 1, 2), (64, 64, 65), (64, 2, 3), (1, 8, 2)])
  func writesToDisksAreCounted(diskMiB: Int, memoryMiB: Int, overlayMiB: Int) throws {
    let image = try Solo5Guests.probe("", disk: [UInt8](repeating: 0, count: diskMiB << 20))
    let footprint = Footprint(image: image, vcpus: 1, memoryMiB: memoryMiB)
    #expect(footprint.memoryKiB == (memoryMiB + overlayMiB) << 10 + 128)
    #expect(footprint.mappings == 5)
  }

  /// Memory that was touched is resident, in whole pages, until it is unmapped.
  @Test func whatWasTouchedIsResident() throws {
    let memory = try GuestRAM(size: 1 << 20)
    #expect(memory.residentBytes == 0)
    try memory.write([1], at: 0x1FFF)
    try memory.write([1], at: 0x2000)
    #expect(memory.residentBytes == 2 * 4096)
    memory.unmap()
    #expect(memory.residentBytes == 0)
  }

  /// The memory of what a guest wrote to its disks comes back when the VM goes, as its own does.
  @Test(.enabled(if: Solo5Guests.areAvailable)) func writesToDisksAreGivenBack() throws {
    let image = try Solo5Guests.image("fill", nil, blocks: ["disk": [UInt8](repeating: 0, count: 16 << 20)])
    let machine = try RealVM.make(image, memoryMiB: 16)
    try machine.start(untilNS: RealVM.soon)
    try machine.waitForOutput("kept 0x0000000000001000\n")
    let overlay = try #require(machine.devices.overlay)
    #expect(overlay.holds(chunk: 0))
    machine.destroy()
    #expect(!overlay.holds(chunk: 0) && machine.memory.bytes(at: 0, upTo: 1).isEmpty)
  }
}
