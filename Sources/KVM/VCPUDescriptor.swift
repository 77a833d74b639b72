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

  /// Opens the vCPU's binary statistics (KVM_GET_STATS_FD), which can be read while it runs.
  public borrowing func openStatistics() throws(KVMError) -> KernelStatistics {
    let descriptor = OwnedDescriptor(owning: try request("KVM_GET_STATS_FD", ckvm_stats_fd(rawValue)))
    return KernelStatistics(schema: try system.statistics.schema(of: descriptor.rawValue), descriptor: descriptor)
  }
}
