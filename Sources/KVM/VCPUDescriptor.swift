import CKVM
import LinuxSupport
import SystemPackage

/// A KVM virtual CPU: its descriptor.
///
/// The kernel serialises its ioctls with a mutex that KVM_RUN holds: a thread that reads registers while the vCPU runs waits
/// until it leaves, so callers do it only while it is parked.
public struct VCPUDescriptor: ~Copyable, Sendable {
  private let descriptor: OwnedDescriptor
  /// The size of its shared `kvm_run` area in bytes.
  public var runSize: Int { system.runSize }
  let system: KVMSystem

  init(descriptor: consuming OwnedDescriptor, system: KVMSystem) {
    self.descriptor = descriptor
    self.system = system
  }

  /// The descriptor's number, for KVM_RUN; valid while this value lives.
  public var rawValue: Int32 { descriptor.rawValue }

  /// KVM_GET_REGS.
  public borrowing func generalRegisters() throws(KVMError) -> GeneralRegisters {
    var regs = kvm_regs()
    try request("KVM_GET_REGS", unsafe ckvm_get_regs(rawValue, &regs))  // Safe: a local outlives the call.
    return GeneralRegisters(regs)
  }

  /// KVM_SET_REGS.
  public borrowing func set(_ registers: GeneralRegisters) throws(KVMError) {
    var regs = registers.regs
    try request("KVM_SET_REGS", unsafe ckvm_set_regs(rawValue, &regs))  // Safe: a local outlives the call.
  }

  /// KVM_GET_SREGS.
  public borrowing func specialRegisters() throws(KVMError) -> SpecialRegisters {
    SpecialRegisters(try sregs())
  }

  /// Puts the vCPU into the state a guest begins in (KVM_SET_SREGS, KVM_SET_REGS).
  public borrowing func load(_ state: BootState) throws(KVMError) {
    var sregs = try sregs()
    state.apply(to: &sregs)
    try request("KVM_SET_SREGS", unsafe ckvm_set_sregs(rawValue, &sregs))  // Safe: a local outlives the call.
    try set(state.registers)
  }

  /// Lets the vCPU run without another one starting it (KVM_SET_MP_STATE); for VMs with the kernel's interrupt
  /// controllers.
  public borrowing func makeRunnable() throws(KVMError) {
    try request("KVM_SET_MP_STATE", ckvm_make_runnable(rawValue))
  }

  /// How fast the guest's time stamp counter runs, in Hz (KVM_GET_TSC_KHZ). Fails with EIO where the host's is unstable.
  public borrowing func timeStampFrequency() throws(KVMError) -> UInt64 {
    UInt64(try request("KVM_GET_TSC_KHZ", ckvm_get_tsc_khz(rawValue))) * 1000
  }

  /// Sets what a PC's firmware leaves behind: memory is cached write-back by default (MTRRs on), and string instructions
  /// are fast, without which Linux avoids them on Intel's processors.
  ///
  /// Source: Intel SDM volume 3, section 11.11.2.1, and volume 4, table 2-2.
  public borrowing func loadFirmwareState() throws(KVMError) {
    let writeBack: UInt64 = 6
    let enabled: UInt64 = 1 << 11
    try request("KVM_SET_MSRS (MTRR)", ckvm_set_msr(rawValue, 0x2FF, writeBack | enabled))
    // Bits 11 and 12 read 1 where there is no branch trace store and no precise sampling.
    try request("KVM_SET_MSRS (MISC_ENABLE)", ckvm_set_msr(rawValue, 0x1A0, 1 << 0 | 1 << 11 | 1 << 12))
  }

  private borrowing func sregs() throws(KVMError) -> kvm_sregs {
    var sregs = kvm_sregs()
    try request("KVM_GET_SREGS", unsafe ckvm_get_sregs(rawValue, &sregs))  // Safe: a local outlives the call.
    return sregs
  }

  /// Opens the vCPU's binary statistics (KVM_GET_STATS_FD), which can be read while it runs.
  public borrowing func openStatistics() throws(KVMError) -> VCPUStatistics {
    let descriptor = OwnedDescriptor(owning: try request("KVM_GET_STATS_FD", ckvm_stats_fd(rawValue)))
    return VCPUStatistics(schema: try system.statistics.schema(of: descriptor.rawValue), descriptor: descriptor)
  }
}
