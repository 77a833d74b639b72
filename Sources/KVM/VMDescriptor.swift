import CKVM
import LinuxSupport
import SystemPackage

/// A KVM virtual machine: its descriptor. Closing it (ending this value) frees the kernel's side once its vCPUs are
/// closed too.
public struct VMDescriptor: ~Copyable, Sendable {
  let descriptor: OwnedDescriptor
  private let system: KVMSystem

  init(descriptor: consuming OwnedDescriptor, system: KVMSystem) {
    self.descriptor = descriptor
    self.system = system
  }

  /// The descriptor's number; valid while this value lives.
  var rawValue: Int32 { descriptor.rawValue }

  /// Makes `[host, host + size)` the guest-physical range that begins at `guestAddress` (KVM_SET_USER_MEMORY_REGION).
  ///
  /// All three are multiples of 4096. The host range must stay mapped as long as the VM exists.
  /// Where `logsWrites`, `takeDirtyLog` returns the pages that the guest wrote.
  @unsafe public borrowing func map(
    slot: UInt32, guestAddress: UInt64, host: UnsafeMutableRawPointer, size: UInt64, logsWrites: Bool = false
  ) throws(KVMError) {
    let flags = logsWrites ? UInt32(KVM_MEM_LOG_DIRTY_PAGES) : 0
    // Safe: the caller keeps the range mapped.
    let result = unsafe ckvm_set_memory(rawValue, slot, flags, guestAddress, size, host)
    try request("KVM_SET_USER_MEMORY_REGION", result)
  }

  /// Gives the VM the kernel's interrupt controllers (KVM_CREATE_IRQCHIP), before its first vCPU. HLT is then handled in
  /// the kernel: a halted vCPU sleeps in KVM_RUN. Every vCPU but the first must be made runnable.
  public borrowing func createIRQChip() throws(KVMError) {
    try request("KVM_CREATE_IRQCHIP", ckvm_create_irqchip(descriptor.rawValue))
  }

  /// Makes writes to the eventfd `event` raise interrupt `interrupt`, an edge each (KVM_IRQFD), until the VM or the last
  /// duplicate of the descriptor is closed.
  public borrowing func connect(event: Int32, toInterrupt interrupt: UInt32) throws(KVMError) {
    try request("KVM_IRQFD", ckvm_connect_interrupt(descriptor.rawValue, event, interrupt))
  }

  /// Creates vCPU `index` of `count`, a core each (KVM_CREATE_VCPU), with what the host's KVM offers guests.
  public borrowing func createVCPU(
    index: Int, of count: Int = 1, hasIRQChip: Bool = false
  ) throws(KVMError) -> VCPUDescriptor {
    let result = ckvm_create_vcpu(descriptor.rawValue, UInt32(index))
    let vcpu = OwnedDescriptor(owning: try request("KVM_CREATE_VCPU", result))
    try system.giveFeatures(to: vcpu, index: index, of: count, hasIRQChip: hasIRQChip)
    return VCPUDescriptor(descriptor: vcpu, system: system)
  }
}
