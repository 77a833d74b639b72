import CKVM
import SystemPackage

/// A table of CPUID leaves, as KVM_SET_CPUID2 takes it.
struct CPUIDTable: Sendable {
  let entries: [kvm_cpuid_entry2]

  /// KVM_GET_SUPPORTED_CPUID. It fails with E2BIG while there is too little room, so room is doubled.
  init(supportedBy kvm: Int32) throws(KVMError) {
    var capacity = 64
    while true {
      var entries = [kvm_cpuid_entry2](repeating: kvm_cpuid_entry2(), count: capacity)
      // Safe: the shim writes at most `capacity` entries.
      let result = unsafe ckvm_supported_cpuid(kvm, &entries, UInt32(capacity))
      if result == -Errno.tooManyArguments.rawValue, capacity < 4096 {
        capacity *= 2
        continue
      }
      let count = try request("KVM_GET_SUPPORTED_CPUID", result)
      self.entries = Array(entries.prefix(Int(count)))
      return
    }
  }
}

/// CPUID's bits for the local APIC and for what works through it.
private enum APICFeature {
  /// Leaves 1 and 0x8000_0001, EDX.
  static let apic: UInt32 = 1 << 9
  /// Leaf 1, ECX.
  static let x2APIC: UInt32 = 1 << 21, deadlineTimer: UInt32 = 1 << 24
  /// Leaf 6, EAX: the APIC's timer runs in all sleep states (ARAT).
  static let timerAlwaysRuns: UInt32 = 1 << 2
  /// Leaf 0x8000_0001, ECX: the extended APIC space.
  static let extendedSpace: UInt32 = 1 << 3
  /// The leaf of KVM's paravirtual features (KVM_CPUID_FEATURES).
  static let paravirtualLeaf: UInt32 = 0x4000_0001
  /// Its bits in EAX. Asynchronous page faults: 4, 10, 14. End of interrupt: 6. Unhalt: 7. Interrupts between processors: 11.
  /// Halt polling: 12. Yielding to a processor: 13. Extended destinations of messages: 15.
  ///
  /// Source: Linux Documentation/virt/kvm/x86/cpuid.rst.
  static let paravirtual = [4, 6, 7, 10, 11, 12, 13, 14, 15].reduce(0) { $0 | 1 << $1 as UInt32 }
}

extension CPUIDTable {
  /// The leaves of vCPU `vcpu` of `count`: cores of one package, without threads, whose APIC ids are their numbers.
  ///
  /// KVM_GET_SUPPORTED_CPUID describes the host's processor that it happens to run on, and leaves out what depends on the VM.
  /// That is the hypervisor, and the deadline mode of the local APIC's timer. Without that mode a kernel measures the timer
  /// for a tenth of a second.
  ///
  /// Source: Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E; api.rst, KVM_GET_SUPPORTED_CPUID.
  /// A VM without the kernel's interrupt controllers has no APIC, so neither that nor what needs it is announced.
  func entries(vcpu: Int, of count: Int, hasAPIC: Bool, hasDeadlineTimer: Bool) -> [kvm_cpuid_entry2] {
    let id = UInt32(vcpu)
    let cores = UInt32(count)
    let idBits = UInt32(count <= 1 ? 0 : Int.bitWidth - (count - 1).leadingZeroBitCount)
    var result: [kvm_cpuid_entry2] = []
    result.reserveCapacity(entries.count + 3)
    for var entry in entries {
      switch entry.function {
      case 1:
        entry.ebx = entry.ebx & 0x0000_FFFF | cores << 16 | id << 24
        entry.ecx |= 1 << 31 | (hasDeadlineTimer ? 1 << 24 : 0)
        entry.edx = entry.edx & ~(1 << 28) | (count > 1 ? 1 << 28 : 0)
        if !hasAPIC {
          entry.ecx &= ~(APICFeature.x2APIC | APICFeature.deadlineTimer)
          entry.edx &= ~APICFeature.apic
        }
      case 6 where !hasAPIC: entry.eax &= ~APICFeature.timerAlwaysRuns
      case 0x8000_0001 where !hasAPIC:
        entry.edx &= ~APICFeature.apic
        entry.ecx &= ~APICFeature.extendedSpace
      case APICFeature.paravirtualLeaf where !hasAPIC: entry.eax &= ~APICFeature.paravirtual
      case 4, 0x8000_001D:
        // A cache of the third level is shared by all, the others are a core's own.
        let sharing = entry.eax >> 5 & 7 >= 3 ? cores - 1 : 0
        entry.eax = entry.eax & 0x3FFF | sharing << 14
        if entry.function == 4, entry.eax & 0x1F != 0 { entry.eax |= (cores - 1) << 26 }
      case 0xB, 0x1F: continue  // taken from the host's, or empty: made anew below
      case 0x8000_0008: entry.ecx = entry.ecx & ~0xF0FF | (cores - 1) | idBits << 12
      case 0x8000_001E: (entry.eax, entry.ebx, entry.ecx) = (id, id, 0)
      default: break
      }
      result.append(entry)
    }
    if let last = entries.first(where: { $0.function == 0 })?.eax, last >= 0xB {
      // Level by level: the bits of the id below it, how many processors it holds, its number and kind.
      result.append(Self.topology(level: 0, bits: 0, processors: 1, kind: 1, id: id))
      result.append(Self.topology(level: 1, bits: idBits, processors: cores, kind: 2, id: id))
      result.append(Self.topology(level: 2, bits: 0, processors: 0, kind: 0, id: id))
    }
    return result
  }

  private static func topology(
    level: UInt32, bits: UInt32, processors: UInt32, kind: UInt32, id: UInt32
  ) -> kvm_cpuid_entry2 {
    var entry = kvm_cpuid_entry2()
    entry.function = 0xB
    entry.index = level
    entry.flags = UInt32(KVM_CPUID_FLAG_SIGNIFCANT_INDEX)
    entry.eax = bits
    entry.ebx = processors
    entry.ecx = level | kind << 8
    entry.edx = id
    return entry
  }
}

extension Errno {
  /// E2BIG.
  fileprivate static var tooManyArguments: Errno { .argListTooLong }
}
