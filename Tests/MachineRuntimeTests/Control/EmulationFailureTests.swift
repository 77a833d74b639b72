import GuestImages
import KVM
import Testing

@testable import MachineRuntime

/// Where kernel code is emulated in software, some of it cannot run. What is then said must be enough to understand it.
@Suite(.enabled(if: RealVM.isAvailable && KVMSystem.emulatesRing0)) struct EmulationFailureTests {
  static let instructions: [(name: String, code: [UInt8])] = [
    ("lock cmpxchg16b (rsp)", [0xF0, 0x48, 0x0F, 0xC7, 0x0C, 0x24]),
    ("xrstor (rsp)", [0x0F, 0xAE, 0x2C, 0x24]),
  ]

  @Test(arguments: instructions) func namesTheInstructionItsAddressAndWhatToDo(name: String, code: [UInt8]) throws {
    let image = GuestImage.flat(FlatImage(mode: .long64, code: [0x90, 0x90] + code + [0xF4]))
    let changes = Changes()
    let machine = try RealVM.make(image, changes: changes)
    defer { machine.destroy() }
    try machine.start(untilNS: RealVM.soon)
    guard case .guest(.crashed(let detail)) = changes.waitForStop() else {
      return #expect(Bool(false), "\(name) did not crash: \(machine.state)")
    }
    let bytes = code.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
    #expect(detail.contains("could not emulate the instruction \(bytes)"))
    #expect(detail.contains(" at 0x10002"))
    #expect(detail.contains("kvm_pvm"))
  }
}
