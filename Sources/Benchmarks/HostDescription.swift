import Foundation
import KVM

/// The host that figures come from.
public struct HostDescription: Codable, Sendable, Equatable {
  /// The processor's model name.
  public var cpu: String
  /// Processors that this process may use.
  public var cpus: Int
  /// The kernel's release.
  public var kernel: String
  /// Whether it is itself a virtual machine.
  public var isVirtual: Bool
  /// Whether KVM is paravirtual here and emulates ring 0.
  public var isKVMPVM: Bool

  /// This host.
  public init() {
    let text = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix("model name") }
    cpu = line?.split(separator: ":").last?.trimmingCharacters(in: .whitespaces) ?? "unknown"
    isVirtual = text.split(separator: "\n").contains {
      $0.hasPrefix("flags") && $0.split(separator: " ").contains("hypervisor")
    }
    cpus = ProcessInfo.processInfo.activeProcessorCount
    kernel = Self.release
    isKVMPVM = KVMSystem.emulatesRing0
  }

  private static var release: String {
    let text = try? String(contentsOfFile: "/proc/sys/kernel/osrelease", encoding: .utf8)
    return text?.trimmingCharacters(in: .whitespacesAndNewlines) ?? "unknown"
  }

  enum CodingKeys: String, CodingKey {
    case cpu, cpus, kernel
    case isVirtual = "virtual"
    case isKVMPVM = "kvm_pvm"
  }
}
