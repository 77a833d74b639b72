import Foundation
import KVM

/// The host's KVM, or the reason why tests on it are skipped, which is printed once.
public enum RealKVM {
  /// `/dev/kvm`, opened when it is first asked for.
  public static let system: Result<KVMSystem, KVMUnavailable> = {
    do throws(KVMUnavailable) {
      return .success(try KVMSystem())
    } catch {
      FileHandle.standardError.write(Data("SKIPPED: tests on real VMs: \(error)\n".utf8))
      return .failure(error)
    }
  }()

  /// Whether there is one.
  public static var isAvailable: Bool { if case .success = system { true } else { false } }
}
