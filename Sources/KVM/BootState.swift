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

  /// A guest that begins in `mode` with `registers`.
  public init(mode: Mode, registers: GeneralRegisters) {
    self.mode = mode
    self.registers = registers
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

  func apply(to sregs: inout kvm_sregs) {
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
      Self.setFlat(&sregs, code: Self.codeSegment(ring: 0, long: false), ring: 0)
    case .long64(let root, let ring):
      sregs.cr3 = root
      sregs.cr4 = Self.physicalAddressExtension | Self.fxsave | Self.simdExceptions
      sregs.cr0 =
        Self.protectionEnable | Self.monitorCoprocessor | Self.extensionType | Self.numericError | Self.writeProtect
        | Self.paging
      sregs.efer = Self.longModeEnable | Self.longModeActive
      Self.setFlat(&sregs, code: Self.codeSegment(ring: ring, long: true), ring: ring)
    }
  }

  private static func setFlat(_ sregs: inout kvm_sregs, code: kvm_segment, ring: UInt8) {
    sregs.cs = code
    let data = dataSegment(ring: ring)
    for segment in [\kvm_sregs.ds, \.es, \.fs, \.gs, \.ss] { sregs[keyPath: segment] = data }
  }

  private static func codeSegment(ring: UInt8, long: Bool) -> kvm_segment {
    var segment = flatSegment(selector: 0x08, ring: ring)
    segment.type = 0xB  // execute, read, accessed
    segment.l = long ? 1 : 0
    segment.db = long ? 0 : 1
    return segment
  }

  private static func dataSegment(ring: UInt8) -> kvm_segment {
    var segment = flatSegment(selector: 0x10, ring: ring)
    segment.type = 0x3  // read, write, accessed
    segment.db = 1
    return segment
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
