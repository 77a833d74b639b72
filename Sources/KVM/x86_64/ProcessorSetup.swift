import CKVM
import Glibc
import LinuxSupport

// What a VM and its vCPUs need on this architecture, and on no other.

/// What the host's processor and its KVM offer guests: KVM_GET_SUPPORTED_CPUID.
typealias ProcessorFeatures = CPUIDTable

extension KVMSystem {
  /// Whether ring-0 guest code is emulated in software here: a paravirtual KVM, which says so by its module.
  public static var emulatesRing0: Bool {
    // Safe: the string lives for the call.
    unsafe access("/sys/module/kvm_pvm", F_OK) == 0
  }

  /// Makes a new VM ready for its vCPUs.
  func prepare(_ vm: borrowing OwnedDescriptor) throws(KVMError) {
    guard capabilities[.setTSSAddress] != 0 else { return }
    // Intel processors need three pages for real mode; anywhere below 4 GiB that no guest memory or device uses.
    try request("KVM_SET_TSS_ADDR", ckvm_set_tss_address(vm.rawValue, 0xFFFB_D000))
  }

  /// Gives a new vCPU the features of its processor (KVM_SET_CPUID2).
  func giveFeatures(
    to vcpu: borrowing OwnedDescriptor, index: Int, of count: Int, hasIRQChip: Bool
  ) throws(KVMError) {
    let hasDeadlineTimer = hasIRQChip && capabilities[.tscDeadlineTimer] != 0
    let table = features.entries(vcpu: index, of: count, hasAPIC: hasIRQChip, hasDeadlineTimer: hasDeadlineTimer)
    // Safe: the shim reads `table.count` entries during the call.
    let answer = unsafe ckvm_set_cpuid(vcpu.rawValue, table, UInt32(table.count))
    try request("KVM_SET_CPUID2", answer)
  }
}

extension VMDescriptor {
  /// Gives the VM the kernel's programmable interval timer (KVM_CREATE_PIT2), which needs its interrupt controllers. The
  /// speaker's port is the kernel's as well: guests measure time with it.
  public borrowing func createTimer() throws(KVMError) {
    try request("KVM_CREATE_PIT2", ckvm_create_pit(descriptor.rawValue))
  }

  /// Connects interrupts to the kernel's controllers as on a PC (KVM_SET_GSI_ROUTING): interrupt 0, the timer, goes to pin 2
  /// of the I/O APIC, where firmware tables place it. KVM's own default is pin 0.
  public borrowing func routeInterrupts() throws(KVMError) {
    try request("KVM_SET_GSI_ROUTING", ckvm_route_interrupts(descriptor.rawValue))
  }
}
