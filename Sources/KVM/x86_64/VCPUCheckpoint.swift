import CKVM
import Synchronization
import SystemPackage

/// All that KVM keeps of a vCPU whose thread is not in KVM_RUN, but its CPUID table, as the kernel's own structures.
///
/// It holds for the processor and the kernel that it was taken on. CPUID is set when a vCPU is created, which comes first:
/// it decides which MSRs a vCPU has, from Linux 6.13 on also for the host.
public struct VCPUCheckpoint: Sendable {
  /// A structure of the kernel's.
  public enum Part: UInt32, CaseIterable, Sendable {
    /// Segments, control registers, EFER and the APIC's base.
    case specialRegisters2
    /// The same, of kernels before 5.14.
    case specialRegisters
    /// Which states the processor saves: it comes before these.
    case extendedControlRegisters
    /// The floating-point and vector registers.
    case extendedState
    /// The debug registers.
    case debugRegisters
    /// The general registers.
    case generalRegisters
    /// The local APIC with its timer.
    case localAPIC
    /// Whether the vCPU runs, is halted, or waits to be started by another one.
    case multiprocessorState
    /// Exceptions, interrupts and NMIs that are pending or blocked.
    case events

    var inC: ckvm_vcpu_part { ckvm_vcpu_part(rawValue) }
  }

  struct Structure: Sendable, Equatable {
    let part: Part
    var bytes: [UInt8]
  }

  /// In the order in which they are put back; MSRs come after the local APIC.
  var structures: [Structure]
  /// The TSC comes first, since timers are set against it; TSC_DEADLINE, as all others, after the local APIC.
  var msrs: [MSRList]

  /// Which parts, and which MSRs, differ from those of `other`, which was restored before, in words. Clocks, which go on by
  /// themselves, are left out.
  public func differences(from other: VCPUCheckpoint) -> [String] {
    var differences: [String] = []
    for (own, theirs) in zip(structures, other.structures) where own.withoutClocks != theirs.withoutClocks {
      differences.append("\(own.part)")
    }
    for (own, theirs) in zip(msrs.flatMap(\.values), other.msrs.flatMap(\.values))
    where !own.isRestored(from: theirs) && !CheckpointPlan.clocks.contains(own.index) {
      differences.append("MSR 0x\(String(own.index, radix: 16))")
    }
    return differences
  }
}

extension VCPUCheckpoint.Structure {
  /// Where a local APIC's timer counts down (SDM volume 3, 11.5.4).
  private static let currentCount = 0x390..<0x394

  fileprivate var withoutClocks: Self {
    guard part == .localAPIC, bytes.count >= Self.currentCount.upperBound else { return self }
    var copy = self
    for index in Self.currentCount { copy.bytes[index] = 0 }
    return copy
  }
}

/// An MSR and what it holds.
public struct MSRValue: Sendable, Equatable {
  /// Its number.
  public let index: UInt32
  /// Its contents.
  public let value: UInt64

  /// IA32_SYSENTER_ESP.
  private static let sysenterESP: UInt32 = 0x175

  /// Whether this is what KVM_SET_MSRS makes of `saved`. The long mode of AMD's processors has no SYSENTER. There KVM reads 64
  /// bits of IA32_SYSENTER_ESP, and sets the lower 32 and zeros (arch/x86/kvm/svm/svm.c).
  fileprivate func isRestored(from saved: MSRValue) -> Bool {
    self == saved || index == Self.sysenterESP && self == MSRValue(index: saved.index, value: saved.value & 0xFFFF_FFFF)
  }
}

/// MSRs in the form that KVM_GET_MSRS and KVM_SET_MSRS take.
struct MSRList: Sendable {
  /// The first entry is room for the structure's head, as the shims say.
  private var entries: [kvm_msr_entry]

  init(_ values: [MSRValue]) {
    entries = [kvm_msr_entry()] + values.map { kvm_msr_entry(index: $0.index, reserved: 0, data: $0.value) }
    // The head: how many there are.
    entries[0].data = UInt64(values.count)
  }

  /// Lists of MSRs that are to be read, each short enough for one call.
  static func lists(of indices: [UInt32]) -> [MSRList] {
    stride(from: 0, to: indices.count, by: mostPerCall).map { start in
      MSRList(indices[start..<min(start + mostPerCall, indices.count)].map { MSRValue(index: $0, value: 0) })
    }
  }

  /// The most that the kernel takes in one call: fewer than MAX_IO_MSRS, which is 256.
  private static let mostPerCall = 255

  var count: Int { entries.count - 1 }
  var values: [MSRValue] { entries.dropFirst().map { MSRValue(index: $0.index, value: $0.data) } }

  /// Reads as many as can be read in a row, and returns how many.
  mutating func read(from vcpu: borrowing VCPUDescriptor) throws(KVMError) -> Int {
    // Safe: the shim writes as many entries as the head says.
    Int(try request("KVM_GET_MSRS", unsafe ckvm_get_msrs(vcpu.rawValue, &entries)))
  }

  /// Writes as many as can be written in a row, and returns how many.
  func write(to vcpu: borrowing VCPUDescriptor) throws(KVMError) -> Int {
    // Safe: the kernel reads as many entries as the head says.
    Int(try request("KVM_SET_MSRS", unsafe ckvm_set_msrs(vcpu.rawValue, entries)))
  }

  /// Those of `values` that `operation` takes. It stops at the first that it does not take, so it is called anew for what
  /// follows.
  static func values(
    of values: [MSRValue], takenBy operation: (inout MSRList) throws(KVMError) -> Int
  ) throws(KVMError) -> [MSRValue] {
    var taken: [MSRValue] = []
    var left = values
    while !left.isEmpty {
      var list = MSRList(Array(left.prefix(mostPerCall)))
      let done = try operation(&list)
      taken += list.values.prefix(done)
      left = Array(left.dropFirst(done < list.count ? done + 1 : done))
    }
    return taken
  }
}

/// What of a vCPU a checkpoint has, for VMs of one kind: with or without the kernel's interrupt controllers. Found out once,
/// on a VM of its own.
struct CheckpointPlan: Sendable {
  let parts: [VCPUCheckpoint.Part]
  /// The MSRs that can be read and put back.
  let msrs: [UInt32]

  private static let timeStampCounter: UInt32 = 0x10
  /// The MSRs that go on by themselves, or follow from one that does (TSC_ADJUST): Hyper-V's time of the processor and its
  /// reference time are among them, which KVM has for all guests.
  static let clocks: Set<UInt32> = [timeStampCounter, 0x3B, 0x4000_0010, 0x4000_0020]

  /// MSRs that KVM has and does not list, before Linux 6.10 or at all: memory types (MTRRs), banks of machine checks, and
  /// its own. Nothing may stand behind a number of these ranges.
  ///
  /// Source: Linux arch/x86/kvm/x86.c, msrs_to_save and kvm_set_msr_common; asm/kvm_para.h.
  private static let unlisted: [ClosedRange<UInt32>] = [
    0x200...0x20F, 0x250...0x250, 0x258...0x259, 0x268...0x26F, 0x277...0x277, 0x2FF...0x2FF, 0x400...0x47F,
    0x4B56_4D00...0x4B56_4DFF,
  ]

  /// Finds out what `vcpu`, which was just created, has.
  init(of vcpu: borrowing VCPUDescriptor, _ system: KVMSystem, hasIRQChip: Bool) throws(KVMError) {
    parts = VCPUCheckpoint.Part.allCases.filter { part in
      switch part {
      case .specialRegisters2: system.capabilities[.sregs2] != 0
      case .specialRegisters: system.capabilities[.sregs2] == 0
      case .extendedControlRegisters: system.capabilities[.xcrs] != 0
      case .localAPIC: hasIRQChip
      default: true
      }
    }
    var candidates = Set(try system.listedMSRs())
    for range in Self.unlisted { candidates.formUnion(range) }
    candidates.remove(Self.timeStampCounter)
    let all = ([Self.timeStampCounter] + candidates.sorted()).map { MSRValue(index: $0, value: 0) }
    let readable = try MSRList.values(of: all) { (list) throws(KVMError) in try list.read(from: vcpu) }
    let writable = try MSRList.values(of: readable) { (list) throws(KVMError) in try list.write(to: vcpu) }
    msrs = writable.map(\.index)
  }
}

extension KVMSystem {
  /// Finds out what checkpoints of VMs of this kind have, unless it is known: makes a VM and takes some milliseconds. A
  /// checkpoint does it otherwise.
  public func planCheckpoints(hasIRQChip: Bool) throws(KVMError) { _ = try checkpointPlan(hasIRQChip: hasIRQChip) }

  /// What checkpoints of VMs of this kind have.
  func checkpointPlan(hasIRQChip: Bool) throws(KVMError) -> CheckpointPlan {
    if let plan = plans.withLock({ $0[hasIRQChip] }) { return plan }
    let vm = try createVM()
    if hasIRQChip { try vm.createIRQChip() }
    let plan = try CheckpointPlan(of: vm.createVCPU(index: 0, hasIRQChip: hasIRQChip), self, hasIRQChip: hasIRQChip)
    plans.withLock { $0[hasIRQChip] = plan }
    return plan
  }

  /// KVM_GET_MSR_INDEX_LIST. It fails with E2BIG while there is too little room, so room is doubled.
  fileprivate func listedMSRs() throws(KVMError) -> [UInt32] {
    var capacity = 256
    while true {
      var indices = [UInt32](repeating: 0, count: capacity)
      // Safe: the shim writes at most `capacity` indices.
      let result = unsafe ckvm_msr_indices(rawValue, &indices, UInt32(capacity))
      if result == -Errno.argListTooLong.rawValue, capacity < 65536 {
        capacity *= 2
        continue
      }
      return Array(indices.prefix(Int(try request("KVM_GET_MSR_INDEX_LIST", result))))
    }
  }
}

extension VCPUDescriptor {
  /// Reads all that KVM keeps of the vCPU. By the thread that runs it, or before there is one: each ioctl waits for KVM_RUN.
  public borrowing func checkpoint(hasIRQChip: Bool) throws(KVMError) -> VCPUCheckpoint {
    let plan = try system.checkpointPlan(hasIRQChip: hasIRQChip)
    var structures: [VCPUCheckpoint.Structure] = []
    for part in plan.parts {
      var bytes = [UInt8](repeating: 0, count: size(of: part))
      // Safe: the shim writes as many bytes as it says that the part has.
      let result = unsafe ckvm_get_vcpu_part(rawValue, part.inC, &bytes, extendedStateBytes)
      try request("reading a vCPU's \(part)", result)
      structures.append(VCPUCheckpoint.Structure(part: part, bytes: bytes))
    }
    var msrs = MSRList.lists(of: plan.msrs)
    for index in msrs.indices {
      let count = try msrs[index].read(from: self)
      guard count == msrs[index].count else { throw Self.refusal(of: msrs[index], at: count, "KVM_GET_MSRS") }
    }
    return VCPUCheckpoint(structures: structures, msrs: msrs)
  }

  /// Puts back what `checkpoint` has read of this vCPU, or of one like it. By the thread that runs it, or before there is
  /// one. After an error the vCPU is a mixture, and must not run.
  public borrowing func restore(_ checkpoint: VCPUCheckpoint) throws(KVMError) {
    for structure in checkpoint.structures where structure.part <= .localAPIC { try put(structure) }
    for list in checkpoint.msrs {
      let count = try list.write(to: self)
      guard count == list.count else { throw Self.refusal(of: list, at: count, "KVM_SET_MSRS") }
    }
    for structure in checkpoint.structures where structure.part > .localAPIC { try put(structure) }
  }

  private borrowing func put(_ structure: VCPUCheckpoint.Structure) throws(KVMError) {
    guard structure.bytes.count == size(of: structure.part) else {
      throw KVMError(request: "setting a vCPU's \(structure.part), whose size is wrong,", errno: .invalidArgument)
    }
    // Safe: the kernel reads as many bytes as the part has, which were just counted.
    let result = unsafe ckvm_set_vcpu_part(rawValue, structure.part.inC, structure.bytes)
    // The name is made on failure alone: this is part of each reset.
    if result < 0 { try request("setting a vCPU's \(structure.part)", result) }
  }

  private borrowing func size(of part: VCPUCheckpoint.Part) -> Int {
    ckvm_vcpu_part_size(part.inC, extendedStateBytes)
  }

  private var extendedStateBytes: Int { system.capabilities[.xsave2] ?? 0 }

  private static func refusal(of msrs: MSRList, at position: Int, _ request: String) -> KVMError {
    KVMError(request: "\(request) of 0x\(String(msrs.values[position].index, radix: 16))", errno: .invalidArgument)
  }
}

extension VCPUCheckpoint.Part: Comparable {
  /// Whether `left` is put back before `right`.
  public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}
