/// A processor's mode of operation.
public enum CPUMode: String, Sendable, CaseIterable {
  /// 16-bit real mode.
  case real16
  /// 32-bit protected mode with flat segments, without paging.
  case prot32
  /// 64-bit mode with paging.
  case long64
}

/// What a vCPU starts with. Everything not named here is as after reset, or follows from the mode.
public struct CPUStart: Sendable, Equatable {
  /// The most vCPUs any image can have: there is room for so many stacks.
  public static let maxVCPUs = 8

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
  /// Passed in RDI, EDI or DI: the index of the vCPU.
  public var firstArgument: UInt64
  /// The I/O privilege level in the flags: 3 in ring 3, else 0.
  public var ioPrivilegeLevel: Int

  /// A start state with every member given.
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
