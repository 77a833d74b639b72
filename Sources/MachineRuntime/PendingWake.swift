import Synchronization

/// The wake-up owed to vCPUs whose start was published without it: delivered once, when it is let go of at the latest.
/// Others may wait for it, having coalesced with the start.
public final class PendingWake: Sendable {
  private let wake: @Sendable () -> Void
  /// The thread that sets it wakes the vCPUs. It hands nothing over: relaxed.
  private let isDelivered = Atomic(false)

  /// A wake-up by `wake`, which is called from any thread and must not wait.
  public init(_ wake: @escaping @Sendable () -> Void) { self.wake = wake }

  deinit { deliver() }

  /// Delivers it, unless that was done. From any thread.
  public func deliver() {
    if !isDelivered.exchange(true, ordering: .relaxed) { wake() }
  }
}
