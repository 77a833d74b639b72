import LinuxSupport
import VCPURuntime

/// A request to one vCPU that has been published and not yet waited for.
public struct PendingRequest: Sendable {
  let vcpu: VCPU
  let ticket: Result<KickTicket, KickError>

  /// The vCPU's number.
  public var index: Int { vcpu.index }
}

/// Kicks that have been published and signalled: all first, then all are waited for.
public struct PendingKicks: Sendable {
  let requests: [PendingRequest]
  /// CLOCK_MONOTONIC when the first was published.
  public let requestedAtNS: UInt64

  /// Waits until every vCPU has acknowledged, until `deadlineNS` (CLOCK_MONOTONIC) at the latest. May be called again
  /// after a timeout, to go on waiting.
  public func wait(untilNS deadlineNS: UInt64) throws(MachineControlError) -> [KickOutcome] {
    try requests.acknowledged(untilNS: deadlineNS)
  }

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

extension [PendingRequest] {
  func acknowledged(untilNS deadlineNS: UInt64) throws(MachineControlError) -> [KickOutcome] {
    var outcomes: [KickOutcome] = []
    outcomes.reserveCapacity(count)
    for request in self {
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
