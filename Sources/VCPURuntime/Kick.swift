public import CKVM
import SystemPackage

/// How a vCPU is brought out of KVM_RUN.
public enum KickMechanism: String, Sendable {
  /// A signal, and `kvm_run.immediate_exit` set by its handler (Linux 4.11, commit 460df4c1fc7c).
  case immediateExit = "immediate_exit"
  /// A signal that is blocked outside KVM_RUN (KVM_SET_SIGNAL_MASK), drained after.
  case signalMask = "signal_mask"
}

/// A way into the guest, with what the kick signal's handler does to keep a thread from taking it. Pools have the shipped one
/// alone. Benchmarks and tests bring others: they compare mechanisms, or hold a thread up.
@safe public struct VCPUEntry: @unchecked Sendable {
  @unsafe let pointer: UnsafePointer<ckvm_entry>

  /// `pointer` must stay valid, and what it points to must not change.
  @unsafe public init(_ pointer: UnsafePointer<ckvm_entry>) {
    unsafe self.pointer = unsafe pointer  // Safe: so the caller promises.
  }
}

/// Where a kick landed.
public enum KickPhase: UInt32, Sendable, CaseIterable, CustomStringConvertible {
  /// KVM_RUN was under way and returned -EINTR.
  case guest
  /// The thread was on its way into KVM_RUN, past its last check: the kernel saw `immediate_exit` and did not enter.
  case entry
  /// The thread was in user space, serving an exit.
  case host
  /// The vCPU slept in user space and was woken without KVM_RUN.
  case parked

  /// The word that the API and the metrics use.
  public var description: String {
    switch self {
    case .guest: "guest"
    case .entry: "entry"
    case .host: "host"
    case .parked: "parked"
    }
  }
}

/// A published request that can be waited for.
public struct KickTicket: Sendable {
  /// The request's number on its vCPU.
  public let generation: UInt64
  /// CLOCK_MONOTONIC just before it was published.
  public let requestedAtNS: UInt64
  /// Whether a signal was already on its way and this request shared it.
  public let coalesced: Bool
  /// Signals sent for it so far.
  public internal(set) var signalsSent: Int
  /// Why the last attempt to send one failed.
  var signalError: Errno?

  init(generation: UInt64, requestedAtNS: UInt64, coalesced: Bool, signalsSent: Int) {
    self.generation = generation
    self.requestedAtNS = requestedAtNS
    self.coalesced = coalesced
    self.signalsSent = signalsSent
  }
}

/// An acknowledged kick.
public struct KickOutcome: Sendable, Equatable {
  /// The request's number on its vCPU.
  public let generation: UInt64
  /// Where it landed.
  public let phase: KickPhase
  /// Whether it shared another request's signal.
  public let coalesced: Bool
  /// Signals sent for it; more than one when the first was not answered in time.
  public let signalsSent: Int
  /// From the request to the thread being out of KVM_RUN. An upper bound if so many other requests were served before
  /// this waiter looked that the record was overwritten.
  public let latencyNS: UInt64
  /// From the request to the signal handler; nil where no handler ran for it.
  public let signalLatencyNS: UInt64?
}

/// Why a kick was not acknowledged.
public enum KickError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The vCPU's thread has ended.
  case ended
  /// The deadline passed.
  case timedOut(generation: UInt64, waitedNS: UInt64)
  /// The deadline passed, and the signal could not be sent until then.
  case signalFailed(Errno)

  /// What happened.
  public var description: String {
    switch self {
    case .ended: "the vCPU has ended"
    case .timedOut(let generation, let waited):
      "request \(generation) was not acknowledged within \(waited / 1_000_000) ms"
    case .signalFailed(let errno): "the kick signal could not be sent: \(errno)"
    }
  }
}
