public import SystemPackage

/// Why the host's KVM cannot be used at all.
public enum KVMUnavailable: Error, Sendable, Equatable, CustomStringConvertible {
  /// The device file does not exist.
  case missing(path: String)
  /// The device file may not be opened.
  case notPermitted(path: String)
  /// Opening failed otherwise.
  case failed(path: String, Errno)
  /// It is something else.
  case notKVM(path: String)
  /// The kernel speaks another KVM API than version 12.
  case wrongVersion(Int)
  /// The kernel lacks a capability that the server cannot do without.
  case lacksCapability(Capability)

  /// What is wrong, and what to do.
  public var description: String {
    switch self {
    case .missing(let path):
      "\(path) is missing: load the module (modprobe kvm_amd or kvm_intel), and enable virtualisation in the "
        + "firmware, or nested virtualisation if this is a virtual machine"
    case .notPermitted(let path):
      "\(path) may not be opened: add the server's user to the group kvm (usermod -aG kvm USER), or grant the "
        + "device to its container"
    case .failed(let path, let errno):
      "\(path) cannot be opened: \(errno)"
    case .notKVM(let path):
      "\(path) is not KVM's device: something else stands in its place; remove it and load the module (modprobe kvm_amd "
        + "or kvm_intel), or pass the host's device to the container"
    case .wrongVersion(let version):
      "the kernel's KVM API version is \(version), and 12 is needed: use Linux 4.11 or newer"
    case .lacksCapability(let capability):
      "the kernel's KVM lacks \(capability.symbol): use Linux 4.11 or newer on x86-64"
    }
  }
}

/// A KVM ioctl failed.
public struct KVMError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The request, such as `KVM_CREATE_VM`.
  public let request: String
  /// What the kernel answered.
  public let errno: Errno

  /// Which request failed, and how.
  public var description: String { "\(request) failed: \(errno)" }

  /// Whether the host ran out of something (memory, descriptors, processes), so that trying later may succeed.
  public var isExhaustion: Bool {
    [.noMemory, .tooManyOpenFiles, .tooManyOpenFilesInSystem, .resourceTemporarilyUnavailable, .noSpace].contains(errno)
  }
}

/// Runs a shim and names the request if it fails.
@discardableResult
func request(_ name: String, _ result: Int32) throws(KVMError) -> Int32 {
  guard result >= 0 else { throw KVMError(request: name, errno: Errno(rawValue: -result)) }
  return result
}
