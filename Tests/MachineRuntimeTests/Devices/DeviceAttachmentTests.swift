import Devices
import Foundation
import GuestImages
import GuestMemory
import Testing

@testable import MachineRuntime

/// A device that is attached to a platform works in the VM, and everything that follows from the list of attachments knows
/// of it.
@Suite(.enabled(if: RealVM.isAvailable)) struct DeviceAttachmentTests {
  private func machine(changes: Changes) throws -> Machine {
    let configuration = MachineConfiguration(
      image: try BuiltGuest.named("entropy"), vcpus: 1, memoryMiB: 4, mechanism: .immediateExit)
    return try Machine(configuration, on: RealVM.system.get(), additional: [EntropyDevice.attachment]) {
      changes.append($0)
    }
  }

  @Test func anAttachedDeviceReachesMemoryAndInterrupts() throws {
    let changes = Changes()
    let machine = try machine(changes: changes)
    defer { machine.destroy() }
    let memory = machine.memory
    let tables = try memory.read(at: PCMemoryMap.tables.lowerBound, count: 0x2000)
    #expect(tables.indices.contains { tables[$0...].starts(with: Array("LNRO0005".utf8)) })

    memory.forgetWrites()
    try machine.start(untilNS: RealVM.soon)
    #expect(changes.waitForStop() == .guest(.exited(code: 0)))
    // The device's write is one that KVM's dirty log does not see, so the server's own list has it. The guest's buffer
    // begins a page.
    #expect(memory.pagesWrittenByServer.count == 1)
    let page = try #require(memory.pagesWrittenByServer.first)
    #expect(try memory.read(at: page * 4096, count: 16).contains { $0 != 0 })
    #expect(
      machine.devices.save()["entropy"] as? EntropyDevice.State == .init(address: UInt32(page * 4096), written: 16))
  }

  /// Every device of every platform: what it saves it restores, and a reset brings it into the state of a new one.
  @Test(arguments: [Platform.minimal, .pc]) func statesAreSavedRestoredAndReset(platform: Platform) throws {
    func devices() throws -> MachineDevices {
      try MachineDevices(
        platform, additional: [EntropyDevice.attachment], console: Console(), memory: GuestRAM(size: 1 << 20), vcpus: 2)
    }
    func equal(_ left: [String: any DeviceState], _ right: [String: any DeviceState]) -> Bool {
      func same<State: DeviceState>(_ left: State, _ right: any DeviceState) -> Bool { left == right as? State }
      return left.keys == right.keys && left.allSatisfy { name, state in right[name].map { same(state, $0) } ?? false }
    }
    let fresh = try devices().save()
    let used = try devices()
    #expect(Set(fresh.keys) == Set(used.attachments.map(\.name)) && fresh.count == used.attachments.count)
    for attachment in used.attachments {
      // Each register is written something, so that there is something to remember.
      switch attachment.place {
      case .ports(let port, let count) where attachment.name != "debug-exit" && attachment.name != "reset-control":
        for offset in 0..<count {
          for width in [AccessWidth.byte, .word] {
            _ = used.ports.write(address: UInt64(port + offset), width: width, value: 0x0F)
          }
        }
      case .memory(let address, _): _ = used.memory.write(address: address, width: .dword, value: 0x1000)
      case .ports: break
      }
    }
    let saved = used.save()
    #expect(!equal(saved, fresh))
    let other = try devices()
    try other.restore(saved)
    #expect(equal(other.save(), saved))
    used.reset()
    #expect(equal(used.save(), fresh))

    var missing = saved
    missing["com1"] = nil
    #expect(throws: DeviceStateError.missing(name: "com1")) { try other.restore(missing) }
    #expect(throws: DeviceStateError.unknownDevice(name: "x")) {
      try other.restore(saved.merging(["x": Stateless()]) { first, _ in first })
    }
    #expect(throws: DeviceStateError.self) { try other.restore(saved.merging(["com1": Stateless()]) { $1 }) }
  }

  /// The document names every device, where it is and what it interrupts with.
  @Test func theDocumentListsTheDevices() throws {
    let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../..").standardized
    let text = try String(contentsOf: root.appending(path: "docs/guests.md"), encoding: .utf8)
    for attachment in [DeviceAttachment].pc {
      guard case .ports(let port, let count) = attachment.place else { continue }
      func hex(_ number: UInt16) -> String { "0x" + String(number, radix: 16, uppercase: true) }
      let ports = count == 1 ? hex(port) : "\(hex(port)) to \(hex(port + count - 1))"
      let isEverywhere = [DeviceAttachment].minimal.contains { $0.name == attachment.name }
      let interrupt = attachment.interrupt.map { "\($0)" } ?? ""
      let row = "| `\(attachment.name)` | \(ports) | \(interrupt) | \(isEverywhere ? "all but Solo5" : "PC") |"
      #expect(text.contains(row), "docs/guests.md lacks the row \(row)")
    }
  }
}
