import CKVM

/// The general registers of a vCPU (`struct kvm_regs`).
public struct GeneralRegisters: Sendable {
  var regs: kvm_regs

  init(_ regs: kvm_regs) { self.regs = regs }

  /// The instruction pointer.
  public var instructionPointer: UInt64 { regs.rip }
  /// RAX.
  public var rax: UInt64 { regs.rax }
  /// RBX.
  public var rbx: UInt64 { regs.rbx }

  /// Every register by name, in the usual order.
  public var named: [(name: String, value: UInt64)] {
    [
      ("rax", regs.rax), ("rbx", regs.rbx), ("rcx", regs.rcx), ("rdx", regs.rdx), ("rsi", regs.rsi), ("rdi", regs.rdi),
      ("rsp", regs.rsp), ("rbp", regs.rbp), ("r8", regs.r8), ("r9", regs.r9), ("r10", regs.r10), ("r11", regs.r11),
      ("r12", regs.r12), ("r13", regs.r13), ("r14", regs.r14), ("r15", regs.r15), ("rip", regs.rip),
      ("rflags", regs.rflags),
    ]
  }
}

/// A segment register with its hidden part (`struct kvm_segment`).
public struct SegmentRegister: Sendable {
  /// The visible part.
  public let selector: UInt16
  /// Base address.
  public let base: UInt64
  /// Limit in bytes.
  public let limit: UInt32
  /// The descriptor's type field.
  public let type: UInt8
  /// Descriptor privilege level.
  public let privilegeLevel: UInt8
  /// Present bit.
  public let isPresent: Bool
  /// L bit: 64-bit code.
  public let isLong: Bool

  init(_ segment: kvm_segment) {
    selector = segment.selector
    base = segment.base
    limit = segment.limit
    type = segment.type
    privilegeLevel = segment.dpl
    isPresent = segment.present != 0
    isLong = segment.l != 0
  }
}

/// The special registers of a vCPU (`struct kvm_sregs`), to be read.
public struct SpecialRegisters: Sendable {
  /// Control registers by name, in the usual order.
  public let control: [(name: String, value: UInt64)]
  /// Segment registers by name, in the usual order.
  public let segments: [(name: String, value: SegmentRegister)]
  /// Descriptor table registers by name.
  public let tables: [(name: String, base: UInt64, limit: UInt16)]

  init(_ sregs: kvm_sregs) {
    control = [
      ("cr0", sregs.cr0), ("cr2", sregs.cr2), ("cr3", sregs.cr3), ("cr4", sregs.cr4), ("cr8", sregs.cr8),
      ("efer", sregs.efer), ("apic_base", sregs.apic_base),
    ]
    segments = [
      ("cs", sregs.cs), ("ds", sregs.ds), ("es", sregs.es), ("fs", sregs.fs), ("gs", sregs.gs), ("ss", sregs.ss),
      ("tr", sregs.tr), ("ldt", sregs.ldt),
    ].map { ($0.0, SegmentRegister($0.1)) }
    tables = [("gdt", sregs.gdt.base, sregs.gdt.limit), ("idt", sregs.idt.base, sregs.idt.limit)]
  }
}
