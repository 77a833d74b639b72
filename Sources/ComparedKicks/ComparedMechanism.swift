import CComparedKicks
public import VCPURuntime

/// The ways to take a vCPU out of KVM_RUN that benchmarks and tests compare: those that the server has, and two that no pool
/// can have.
public enum ComparedMechanism: String, Sendable, CaseIterable {
  /// The server's.
  case immediateExit = "immediate_exit"
  /// The server's, for kernels without the former.
  case signalMask = "signal_mask"
  /// A signal whose handler moves a thread that stands between its last check and KVM_RUN to where it gives up: no help
  /// of the kernel is needed to kick, only `immediate_exit` to complete an access.
  case ipFixup = "ip_fixup"
  /// A signal and nothing else. It loses the kick that lands between the last check and KVM_RUN.
  case signalOnly = "signal_only"

  /// Those that lose no kick.
  public static let sound: [ComparedMechanism] = [.immediateExit, .signalMask, .ipFixup]

  /// The server's mechanism whose every step but the handler's it shares.
  public var shipped: KickMechanism { self == .signalMask ? .signalMask : .immediateExit }

  /// The way into the guest whose handler makes the difference; nil: the shipped one.
  public var entry: VCPUEntry? {
    // Safe: the entries are constants of the program.
    switch self {
    case .immediateExit, .signalMask: nil
    case .ipFixup: unsafe VCPUEntry(ip_fixup_entry())
    case .signalOnly: unsafe VCPUEntry(signal_only_entry())
    }
  }
}
