import CKVM
import Glibc
import LinuxSupport
import Synchronization
import SystemPackage

/// The host's KVM: an open `/dev/kvm` and what it says of itself. Usable from any thread.
public final class KVMSystem: Sendable {
  private let descriptor: OwnedDescriptor
  /// KVM_GET_API_VERSION; 12 on every kernel since 2.6.22.
  public let apiVersion: Int
  /// KVM_CHECK_EXTENSION's answers; 0 where the capability is missing.
  public let capabilities: [Capability: Int]
  /// The size of a vCPU's shared `kvm_run` area in bytes.
  let runSize: Int
  /// What the host's KVM offers guests, given to every vCPU.
  let features: ProcessorFeatures
  /// Where the binary statistics of vCPUs stand in their descriptor; the same for every vCPU of a kernel.
  let statistics = StatisticsSchemaCache()
  /// What checkpoints of VMs with and without interrupt controllers have; found out when one is first taken. A leaf lock.
  let plans = Mutex<[Bool: CheckpointPlan]>([:])

  /// Opens the device and checks that the server can work with it.
  public init(path: String = "/dev/kvm") throws(KVMUnavailable) {
    let result = unsafe ckvm_open(path)  // Safe: the string lives for the call.
    do throws(Errno) {
      descriptor = try OwnedDescriptor(result: result)
    } catch {
      switch error {
      case .noSuchFileOrDirectory, .noSuchAddressOrDevice, Errno(rawValue: ENODEV): throw .missing(path: path)
      case .permissionDenied, .notPermitted: throw .notPermitted(path: path)
      default: throw .failed(path: path, error)
      }
    }
    let kvm = descriptor.rawValue
    apiVersion = Int(ckvm_get_api_version(kvm))
    guard apiVersion >= 0 else { throw .notKVM(path: path) }
    guard apiVersion == Int(KVM_API_VERSION) else { throw .wrongVersion(apiVersion) }
    var found: [Capability: Int] = [:]
    for capability in Capability.allCases {
      found[capability] = max(0, Int(ckvm_check_extension(kvm, UInt32(capability.number))))
    }
    capabilities = found
    for capability in Capability.needed where found[capability] == 0 { throw .lacksCapability(capability) }
    do throws(KVMError) {
      runSize = Int(try request("KVM_GET_VCPU_MMAP_SIZE", ckvm_vcpu_mmap_size(kvm)))
      features = try ProcessorFeatures(supportedBy: kvm)
    } catch {
      throw .failed(path: path, error.errno)
    }
  }

  /// The device's descriptor.
  var rawValue: Int32 { descriptor.rawValue }

  /// The most vCPUs a VM may have (KVM_CAP_MAX_VCPUS; on kernels without it, KVM_CAP_NR_VCPUS).
  public var maxVCPUs: Int { [.maxVCPUs, .nrVCPUs].compactMap { capabilities[$0] }.first { $0 > 0 } ?? 4 }

  /// Whether the kernel polls `kvm_run.immediate_exit`: without it, vCPUs are kicked by the signal mask.
  public var hasImmediateExit: Bool { capabilities[.immediateExit] != 0 }

  /// Creates a VM. KVM_CREATE_VM can fail with EINTR when a signal arrives; it is tried again, eight times at most.
  public func createVM() throws(KVMError) -> VMDescriptor {
    var result: Int32 = 0
    for _ in 0..<8 {
      result = ckvm_create_vm(descriptor.rawValue)
      if result != -Errno.interrupted.rawValue { break }
    }
    let vm = OwnedDescriptor(owning: try request("KVM_CREATE_VM", result))
    try prepare(vm)
    return VMDescriptor(descriptor: vm, system: self)
  }
}
