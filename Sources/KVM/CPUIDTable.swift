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

extension Errno {
  /// E2BIG.
  fileprivate static var tooManyArguments: Errno { .argListTooLong }
}
