import CKVM
import LinuxSupport
import SystemPackage

/// A KVM virtual machine: its descriptor. Closing it (ending this value) frees the kernel's side once its vCPUs are
/// closed too.
public struct VMDescriptor: ~Copyable, Sendable {
  private let descriptor: OwnedDescriptor
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

  /// Makes writes to the eventfd `event` raise interrupt `interrupt`, an edge each (KVM_IRQFD), until the VM or the last
  /// duplicate of the descriptor is closed.
  public borrowing func connect(event: Int32, toInterrupt interrupt: UInt32) throws(KVMError) {
    try request("KVM_IRQFD", ckvm_connect_interrupt(descriptor.rawValue, event, interrupt))
  }

  /// Creates vCPU `index` of `count`, a core each (KVM_CREATE_VCPU), with what the host's KVM offers guests
  /// (KVM_SET_CPUID2).
  public borrowing func createVCPU(
    index: Int, of count: Int = 1, hasIRQChip: Bool = false
  ) throws(KVMError) -> VCPUDescriptor {
    let result = ckvm_create_vcpu(descriptor.rawValue, UInt32(index))
    let vcpu = OwnedDescriptor(owning: try request("KVM_CREATE_VCPU", result))
    let hasDeadlineTimer = hasIRQChip && system.capabilities[.tscDeadlineTimer] != 0
    let table = system.supportedCPUID.entries(
      vcpu: index, of: count, hasAPIC: hasIRQChip, hasDeadlineTimer: hasDeadlineTimer)
    // Safe: the shim reads `table.count` entries during the call.
    let answer = unsafe ckvm_set_cpuid(vcpu.rawValue, table, UInt32(table.count))
    try request("KVM_SET_CPUID2", answer)
    return VCPUDescriptor(descriptor: vcpu, system: system)
  }
}
