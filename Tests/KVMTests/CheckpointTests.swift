import TestSupport
import Testing

@testable import KVM

/// What KVM keeps of a vCPU and of a VM is read and put back as a whole.
@Suite(.enabled(if: RealKVM.isAvailable)) struct CheckpointTests {
  /// A vCPU is changed wherever a guest can change it, then restored: nothing of the change is left.
  @Test(arguments: [false, true]) func aRestoredVCPUIsAsItWas(hasIRQChip: Bool) throws {
    let system = try RealKVM.system.get()
    let vm = try system.createVM()
    if hasIRQChip { try vm.createIRQChip() }
    let vcpu = try vm.createVCPU(index: 0, hasIRQChip: hasIRQChip)
    let before = try vcpu.checkpoint(hasIRQChip: hasIRQChip)
    #expect(before.msrs.map(\.count).reduce(0, +) > 20)

    let changed = before.changedEverywhere()
    for structure in changed.structures { try vcpu.restore(VCPUCheckpoint(structures: [structure], msrs: [])) }
    // The kernel refuses values that some MSRs cannot have.
    for msr in changed.msrs.flatMap(\.values) { _ = try MSRList([msr]).write(to: vcpu) }
    let differences = try vcpu.checkpoint(hasIRQChip: hasIRQChip).differences(from: before)
    for part in ["generalRegisters", "extendedState", "debugRegisters"] { #expect(differences.contains(part)) }
    #expect(differences.contains { $0.hasPrefix("MSR") })

    try vcpu.restore(before)
    #expect(try vcpu.checkpoint(hasIRQChip: hasIRQChip).differences(from: before) == [])
  }

  /// On an AMD processor KVM sets the lower half of IA32_SYSENTER_ESP alone, and reads all of it.
  @Test(
    arguments: [
      (0x175, 0x3000, []), (0x175, 0xFFFF_FE00_0000_3000, []), (0x175, 0x4000, ["MSR 0x175"]),
      (0x176, 0x3000, ["MSR 0x176"]),
    ] as [(UInt32, UInt64, [String])])
  func halfOfSysenterESPIsRestored(index: UInt32, value: UInt64, differences: [String]) {
    func checkpoint(_ value: UInt64) -> VCPUCheckpoint {
      VCPUCheckpoint(structures: [], msrs: [MSRList([MSRValue(index: index, value: value)])])
    }
    #expect(checkpoint(value).differences(from: checkpoint(0xFFFF_FE00_0000_3000)) == differences)
  }

  /// A vCPU of another VM takes the state over.
  @Test(arguments: [false, true]) func anotherVCPUTakesTheStateOver(hasIRQChip: Bool) throws {
    let system = try RealKVM.system.get()
    let vm = try system.createVM()
    if hasIRQChip { try vm.createIRQChip() }
    let vcpu = try vm.createVCPU(index: 0, hasIRQChip: hasIRQChip)
    var registers = try vcpu.generalRegisters()
    registers.regs.rip = 0x1234
    try vcpu.set(registers)
    let state = try vcpu.checkpoint(hasIRQChip: hasIRQChip)
    let vmState = try vm.checkpoint(hasIRQChip: hasIRQChip, hasTimer: false)

    let other = try system.createVM()
    if hasIRQChip { try other.createIRQChip() }
    let otherVCPU = try other.createVCPU(index: 0, hasIRQChip: hasIRQChip)
    try other.restore(vmState)
    try otherVCPU.restore(state)
    #expect(try otherVCPU.generalRegisters().instructionPointer == 0x1234)
    #expect(try otherVCPU.checkpoint(hasIRQChip: hasIRQChip).differences(from: state) == [])
    #expect(try other.checkpoint(hasIRQChip: hasIRQChip, hasTimer: false).differences(from: vmState) == [])
  }
}

extension VCPUCheckpoint {
  /// A state that differs in every structure and every MSR, as far as the kernel takes it.
  fileprivate func changedEverywhere() -> VCPUCheckpoint {
    var copy = self
    for index in copy.structures.indices {
      switch copy.structures[index].part {
      case .generalRegisters, .debugRegisters: copy.structures[index].bytes[0] ^= 0xFF
      case .extendedState:
        // The SSE registers, and the bit that says that they are not as after a reset (SDM volume 1, 13.4).
        for byte in 160..<416 { copy.structures[index].bytes[byte] ^= 0xA5 }
        copy.structures[index].bytes[512] |= 1 << 1
      default: break
      }
    }
    copy.msrs = msrs.map { MSRList($0.values.map { MSRValue(index: $0.index, value: $0.value ^ 0x1000) }) }
    return copy
  }
}
