import KVM
import LinuxSupport
import VCPURuntime

/// A request to one vCPU that has been published and not yet waited for.
struct PendingRequest: Sendable {
  let vcpu: VCPU
  let ticket: Result<KickTicket, KickError>

  /// The vCPU's number.
  var index: Int { vcpu.index }
}

/// Requests to vCPUs that have been published and delivered, once. What is left is to wait for the answers.
///
/// A caller that blocks uses `wait`; a caller that must not uses `notify`, then `wait` with a deadline of 0. Either may be
/// used again after a timeout: nothing is published anew.
public struct PendingRequests: Sendable {
  let requests: [PendingRequest]
  /// CLOCK_MONOTONIC when the first was published.
  public let requestedAtNS: UInt64

  /// No request: there is nothing to wait for.
  public static let none = PendingRequests(requests: [], requestedAtNS: 0)

  init(requests: [PendingRequest], requestedAtNS: UInt64) {
    self.requests = requests
    self.requestedAtNS = requestedAtNS
  }

  /// Waits until every vCPU has acknowledged, until `deadlineNS` (CLOCK_MONOTONIC) at the latest.
  public func wait(untilNS deadlineNS: UInt64) throws(MachineControlError) {
    _ = try outcomes(untilNS: deadlineNS)
  }

  /// Has `body` called once, when every vCPU has acknowledged or ended. Occupies no thread meanwhile, however many wait.
  ///
  /// `body` runs on a thread that all notices of the process share, never on a vCPU's, and must be short. If every vCPU
  /// has acknowledged already, `notify` calls it before it returns. It is not called after the notice has been cancelled
  /// or let go of. Holding the notice keeps the vCPUs' objects, not their threads or memory.
  public func notify(_ body: @escaping @Sendable () -> Void) -> AnswerNotice {
    let published = requests.compactMap { request in
      // A vCPU that had ended acknowledges nothing, and is not waited for.
      (try? request.ticket.get()).map { (vcpu: request.vcpu, ticket: $0) }
    }
    return AnswerNotice(whenAnswered: published, body)
  }

  func outcomes(untilNS deadlineNS: UInt64) throws(MachineControlError) -> [KickOutcome] {
    var outcomes: [KickOutcome] = []
    outcomes.reserveCapacity(requests.count)
    for request in requests {
      do throws(KickError) {
        outcomes.append(try request.vcpu.wait(for: request.ticket.get(), untilNS: deadlineNS))
      } catch {
        switch error {
        case .ended: throw .deleted
        case .timedOut(_, let waited): throw .timedOut(waitedNS: waited)
        case .signalFailed: throw .failed("\(error)")
        }
      }
    }
    return outcomes
  }
}

/// Registers that have been asked for, once. What is left is to wait for them, as with `PendingRequests`.
public struct PendingRegisters: Sendable {
  private let requested: RequestedRegisters

  init(_ requested: RequestedRegisters) { self.requested = requested }

  /// The registers, which are waited for until `deadlineNS` (CLOCK_MONOTONIC) at the latest. Throws `invalidState` if the
  /// VM was resumed before they could be read.
  public func wait(untilNS deadlineNS: UInt64) throws(MachineControlError) -> (GeneralRegisters, SpecialRegisters) {
    try pending.wait(untilNS: deadlineNS)
    do throws(KVMError) {
      if let registers = try requested.get() { return registers }
    } catch { throw .failed("\(error)") }
    throw .invalidState(operation: Machine.readRegisters, .running)
  }

  /// Has `body` called once, when `wait` need not wait any more: as `PendingRequests.notify`.
  public func notify(_ body: @escaping @Sendable () -> Void) -> AnswerNotice { pending.notify(body) }

  private var pending: PendingRequests {
    PendingRequests(
      requests: [PendingRequest(vcpu: requested.vcpu, ticket: .success(requested.ticket))],
      requestedAtNS: requested.ticket.requestedAtNS)
  }
}

/// Kicks that have been published and signalled: all first, then all are waited for.
public struct PendingKicks: Sendable {
  let pending: PendingRequests

  init(requests: [PendingRequest], requestedAtNS: UInt64) {
    pending = PendingRequests(requests: requests, requestedAtNS: requestedAtNS)
  }

  var requests: [PendingRequest] { pending.requests }
  /// CLOCK_MONOTONIC when the first was published.
  public var requestedAtNS: UInt64 { pending.requestedAtNS }

  /// Waits until every vCPU has acknowledged, until `deadlineNS` (CLOCK_MONOTONIC) at the latest. May be called again
  /// after a timeout, to go on waiting.
  public func wait(untilNS deadlineNS: UInt64) throws(MachineControlError) -> [KickOutcome] {
    try pending.outcomes(untilNS: deadlineNS)
  }

  /// Has `body` called once, when every vCPU has acknowledged or ended: as `PendingRequests.notify`.
  public func notify(_ body: @escaping @Sendable () -> Void) -> AnswerNotice { pending.notify(body) }

  /// Counts the acknowledged kicks on their vCPUs: once, after `wait` has returned them.
  public func count(_ outcomes: [KickOutcome]) {
    for (request, outcome) in zip(requests, outcomes) { request.vcpu.count(outcome) }
  }

  /// Counts the kicks when the caller gives up after `wait` timed out: once. Those that were answered are not lost.
  public func countTimeouts() {
    for request in requests {
      guard case .success(let ticket) = request.ticket else { continue }
      if let outcome = try? request.vcpu.wait(for: ticket, untilNS: 0) {
        request.vcpu.count(outcome)
      } else {
        request.vcpu.countTimeout()
      }
    }
  }
}
