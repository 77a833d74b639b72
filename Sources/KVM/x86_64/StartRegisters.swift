import CKVM

/// The state in which a vCPU begins to run a guest.
///
/// Source: Intel SDM volume 3, chapters 3 (segments), 5 (paging) and 10 (long mode); AMD APM volume 2, chapter 14.
public struct BootState: Sendable {
  /// The processor mode, with what is particular to it.
  public enum Mode: Sendable {
    /// 16-bit real mode; code segment at `codeBase`, the others at 0.
    case real16(codeBase: UInt64)
    /// 32-bit protected mode without paging, flat 4 GiB segments, ring 0.
    case prot32
    /// 64-bit mode with the page tables at `pageTableRoot`, in ring 0 or 3.
    case long64(pageTableRoot: UInt64, ring: UInt8)
  }

  /// The mode.
  public let mode: Mode
  /// The general registers.
  public let registers: GeneralRegisters
  /// The selectors of the code segment and of all others, but in real mode.
  public let selectors: (code: UInt16, data: UInt16)
  /// GDTR: where the table is, and its last byte.
  public let descriptorTable: (base: UInt64, limit: UInt16)

  /// A guest that begins in `mode` with `registers`.
  public init(
    mode: Mode, registers: GeneralRegisters, selectors: (code: UInt16, data: UInt16) = (0x08, 0x10),
    descriptorTable: (base: UInt64, limit: UInt16) = (0, 0)
  ) {
    self.mode = mode
    self.registers = registers
    self.selectors = selectors
    self.descriptorTable = descriptorTable
  }

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

  func apply(to sregs: inout kvm_sregs) {
    if descriptorTable.limit > 0 { (sregs.gdt.base, sregs.gdt.limit) = descriptorTable }
    switch mode {
    case .real16(let codeBase):
      sregs.cs.base = codeBase
      sregs.cs.selector = UInt16(truncatingIfNeeded: codeBase >> 4)
      for segment in [\kvm_sregs.ds, \.es, \.fs, \.gs, \.ss] {
        sregs[keyPath: segment].base = 0
        sregs[keyPath: segment].selector = 0
      }
    case .prot32:
      sregs.cr0 = Self.protectionEnable | Self.monitorCoprocessor | Self.extensionType | Self.numericError
      setFlat(&sregs, ring: 0, long: false)
    case .long64(let root, let ring):
      sregs.cr3 = root
      sregs.cr4 = Self.physicalAddressExtension | Self.fxsave | Self.simdExceptions
      sregs.cr0 =
        Self.protectionEnable | Self.monitorCoprocessor | Self.extensionType | Self.numericError | Self.writeProtect
        | Self.paging
      // Page tables may forbid execution: without this the bit for it is a reserved one.
      sregs.efer = Self.longModeEnable | Self.longModeActive | Self.noExecuteEnable
      setFlat(&sregs, ring: ring, long: true)
    }
  }

  private func setFlat(_ sregs: inout kvm_sregs, ring: UInt8, long: Bool) {
    sregs.cs = Self.flatSegment(selector: selectors.code, ring: ring)
    sregs.cs.type = 0xB  // execute, read, accessed
    sregs.cs.l = long ? 1 : 0
    sregs.cs.db = long ? 0 : 1
    var data = Self.flatSegment(selector: selectors.data, ring: ring)
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
