import CKVM
import Processor

// A start, in the registers of KVM.
//
// Source: Intel SDM volume 3, chapters 3 (segments), 5 (paging) and 10 (long mode); AMD APM volume 2, chapter 14.
extension CPUStart {
  // Control register bits: SDM volume 3, section 2.5.
  private static let protectionEnable: UInt64 = 1 << 0
  private static let monitorCoprocessor: UInt64 = 1 << 1
  private static let extensionType: UInt64 = 1 << 4
  private static let numericError: UInt64 = 1 << 5
  private static let writeProtect: UInt64 = 1 << 16
  private static let paging: UInt64 = 1 << 31
  private static let physicalAddressExtension: UInt64 = 1 << 5
  private static let fxsave: UInt64 = 1 << 9
  private static let simdExceptions: UInt64 = 1 << 10
  private static let longModeEnable: UInt64 = 1 << 8
  private static let longModeActive: UInt64 = 1 << 10
  private static let noExecuteEnable: UInt64 = 1 << 11

  /// The general registers.
  var generalRegisters: GeneralRegisters {
    var regs = kvm_regs()
    (regs.rip, regs.rsp, regs.rdi) = (entry, stackPointer, firstArgument)
    (regs.rax, regs.rbx, regs.rsi) = (rax, rbx, rsi)
    // Bit 1 always reads 1.
    regs.rflags = UInt64(ioPrivilegeLevel) << 12 | 2
    return GeneralRegisters(regs)
  }

  /// Changes those special registers that are not as after a reset.
  func apply(to sregs: inout kvm_sregs) {
    if descriptorTableLimit > 0 { (sregs.gdt.base, sregs.gdt.limit) = (descriptorTable, descriptorTableLimit) }
    switch mode {
    case .real16:
      sregs.cs.base = codeSegmentBase
      sregs.cs.selector = UInt16(truncatingIfNeeded: codeSegmentBase >> 4)
      for segment in [\kvm_sregs.ds, \.es, \.fs, \.gs, \.ss] {
        sregs[keyPath: segment].base = 0
        sregs[keyPath: segment].selector = 0
      }
    case .prot32:
      sregs.cr0 = Self.protectionEnable | Self.monitorCoprocessor | Self.extensionType | Self.numericError
      setFlat(&sregs, long: false)
    case .long64:
      sregs.cr3 = pageTableRoot
      sregs.cr4 = Self.physicalAddressExtension | Self.fxsave | Self.simdExceptions
      sregs.cr0 =
        Self.protectionEnable | Self.monitorCoprocessor | Self.extensionType | Self.numericError | Self.writeProtect
        | Self.paging
      // Page tables may forbid execution: without this the bit for it is a reserved one.
      sregs.efer = Self.longModeEnable | Self.longModeActive | Self.noExecuteEnable
      setFlat(&sregs, long: true)
    }
  }

  private func setFlat(_ sregs: inout kvm_sregs, long: Bool) {
    let ring = UInt8(ring)
    sregs.cs = Self.flatSegment(selector: codeSelector, ring: ring)
    sregs.cs.type = 0xB  // execute, read, accessed
    sregs.cs.l = long ? 1 : 0
    sregs.cs.db = long ? 0 : 1
    var data = Self.flatSegment(selector: dataSelector, ring: ring)
    data.type = 0x3  // read, write, accessed
    data.db = 1
    for segment in [\kvm_sregs.ds, \.es, \.fs, \.gs, \.ss] { sregs[keyPath: segment] = data }
  }

  private static func flatSegment(selector: UInt16, ring: UInt8) -> kvm_segment {
    var segment = kvm_segment()
    segment.base = 0
    segment.limit = 0xFFFF_FFFF
    segment.selector = selector | UInt16(ring)
    segment.present = 1
    segment.dpl = ring
    segment.s = 1
    segment.g = 1
    return segment
  }
}
