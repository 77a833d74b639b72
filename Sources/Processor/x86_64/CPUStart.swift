/// A processor's mode of operation.
public enum CPUMode: String, Sendable, CaseIterable {
  /// 16-bit real mode.
  case real16
  /// 32-bit protected mode with flat segments, without paging.
  case prot32
  /// 64-bit mode with paging.
  case long64
}

/// The registers that a vCPU starts with: an image says them, and KVM loads them. All others are as after a reset, or follow
/// from the mode. Segments are flat. Their selectors do not matter.
public struct CPUStart: Sendable, Equatable {
  /// The most vCPUs that an image can have: the first one starts the others.
  public static let maxVCPUs = 64
  /// The most vCPUs of an image where all of them start at once: there is room for so many stacks.
  public static let maxVCPUsAtOnce = 8

  /// The processor's mode.
  public var mode: CPUMode
  /// The privilege level: 0 or 3.
  public var ring: Int
  /// The instruction pointer, relative to the code segment.
  public var entry: UInt64
  /// The base of the code segment, in `real16` (the selector is a sixteenth of it); 0 in the other modes.
  public var codeSegmentBase: UInt64
  /// The top of a private stack of 4 KiB.
  public var stackPointer: UInt64
  /// The guest-physical address of the PML4 table, in `long64`; 0 in the other modes, which do not page.
  public var pageTableRoot: UInt64
  /// Passed in RDI, EDI or DI.
  public var firstArgument: UInt64
  /// The I/O privilege level in the flags: 3 in ring 3, else 0.
  public var ioPrivilegeLevel: Int
  /// RAX.
  public var rax: UInt64 = 0
  /// RBX.
  public var rbx: UInt64 = 0
  /// RSI.
  public var rsi: UInt64 = 0
  /// The selector of the code segment, but in `real16`.
  public var codeSelector: UInt16 = 0x08
  /// The selector of all other segments, but in `real16`.
  public var dataSelector: UInt16 = 0x10
  /// The guest-physical address of the descriptor table that GDTR points to.
  public var descriptorTable: UInt64 = 0
  /// The table's last byte; 0 where there is none, so that loading any selector faults.
  public var descriptorTableLimit: UInt16 = 0

  /// A start state with every member given but those that are mostly 0.
  public init(
    mode: CPUMode, ring: Int, entry: UInt64, codeSegmentBase: UInt64, stackPointer: UInt64, pageTableRoot: UInt64,
    firstArgument: UInt64, ioPrivilegeLevel: Int
  ) {
    self.mode = mode
    self.ring = ring
    self.entry = entry
    self.codeSegmentBase = codeSegmentBase
    self.stackPointer = stackPointer
    self.pageTableRoot = pageTableRoot
    self.firstArgument = firstArgument
    self.ioPrivilegeLevel = ioPrivilegeLevel
  }
}
