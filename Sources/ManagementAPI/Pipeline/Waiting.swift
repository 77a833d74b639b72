import HTTPServer
import LinuxSupport
import MachineRuntime
import PoolManager
import Synchronization
import VCPURuntime

/// Where operations go on whose clients have left: what they undo is recorded, which must not hold up a deadline. There are
/// fewer connections than places in the queue.
private let departures = WorkerPool(name: "departures", role: .requests, threads: 1, queueLimit: 65_536)

/// Something that an operation waits for: it happens, or its deadline passes, or the client leaves, whichever is first.
///
/// `happened` may be called from any thread, before or after the wait has begun, but under no lock: the operation goes on
/// inside the call.
final class Waiting<Value: Sendable>: Sendable {
  enum Outcome: Sendable {
    case happened(Value)
    case expired
    /// As many requests wait as may. The operation undoes what it has begun, and ends.
    case refused
    /// The client has left. The operation undoes what it has begun, and ends.
    case left
  }

  private struct State {
    var outcome: Outcome?
    var continuation: CheckedContinuation<Outcome, Never>?
  }

  /// A leaf lock: the operation is not resumed under it.
  private let state = Mutex(State())

  /// Ends the wait with a value. False when it has ended before: the value is the caller's to undo.
  @discardableResult
  func happened(_ value: Value) -> Bool { end(.happened(value)) }

  /// How the wait ended, within the task of an operation. Once. It waits until `deadlineNS` (CLOCK_MONOTONIC), or for ever.
  ///
  /// The wait counts towards the limit of `load`, and is refused where that is reached. Requests that free something give
  /// none, as do those that have asked before.
  func outcome(untilNS deadlineNS: UInt64? = nil, within load: HTTPLoad? = nil) async -> Outcome {
    if let outcome = state.withLock({ $0.outcome }) { return outcome }
    // It may happen at this very moment, and is not refused then.
    if let load, !load.admitsWaiting() { end(.refused) }
    if let outcome = state.withLock({ $0.outcome }) { return outcome }
    let deadline = DeadlineTimer()
    if let deadlineNS { deadline.arm(atNS: deadlineNS) { self.end(.expired) } }
    let departure = DeadlineTimer()
    let outcome = await withTaskCancellationHandler {
      await withCheckedContinuation { begin($0) }
    } onCancel: {
      // The task must not go on inside its own cancellation (see `InlineExecutor`).
      do throws(WorkerPool.Refusal) {
        try departures.submit { self.end(.left) }
      } catch {
        // Where the system gives no thread, that of deadlines has to do.
        departure.arm(atNS: 0) { self.end(.left) }
      }
    }
    deadline.cancel()
    departure.cancel()
    return outcome
  }

  private func begin(_ continuation: CheckedContinuation<Outcome, Never>) {
    let outcome = state.withLock { state in
      if state.outcome == nil { state.continuation = continuation }
      return state.outcome
    }
    if let outcome { continuation.resume(returning: outcome) }
  }

  @discardableResult
  private func end(_ outcome: Outcome) -> Bool {
    let (isFirst, continuation) = state.withLock { state in
      guard state.outcome == nil else { return (false, CheckedContinuation<Outcome, Never>?.none) }
      state.outcome = outcome
      return (true, state.continuation.take())
    }
    continuation?.resume(returning: outcome)
    return isFirst
  }
}

extension APIProblem {
  /// Ends an operation whose client has left. It is never sent.
  static var clientLeft: APIProblem { APIProblem(.requestTimeout, "The client has left.") }

  /// Refuses a request that would have to wait; `what` says what became of it.
  static func tooManyWaiting(_ load: HTTPLoad, _ what: String = "The request would have to wait.") -> APIProblem {
    APIProblem(
      .tooManyWaiting,
      "\(what) \(load.waitingLimit) requests wait already, and no more may (--max-waiting); try again in a moment.")
  }
}

extension APIHandler {
  /// Refuses a request that waits in any case, before it has begun anything, where as many wait as may.
  func admitWaiting() throws(APIProblem) {
    if !configuration.load.admitsWaiting() { throw .tooManyWaiting(configuration.load) }
  }

  /// How long an operation may keep its connection's thread, which serves others, with looking for an answer that is
  /// likely to come at once.
  static let patienceNS: UInt64 = 300_000

  /// What `answer` returns when all vCPUs have acknowledged. Nil when they have not by `deadlineNS` (CLOCK_MONOTONIC), or when
  /// the client has left before, so that the answer does not matter.
  ///
  /// What is waited for has been published before, once: nothing is published here. `answer` waits until the time that it is
  /// given. `notify` has its closure called when there is an answer, so that however many wait, they cost no thread.
  func acknowledgement<Value>(
    of vm: VM, untilNS deadlineNS: UInt64,
    notify: (@escaping @Sendable () -> Void) -> AnswerNotice,
    answer: (_ untilNS: UInt64) throws(MachineControlError) -> Value
  ) async throws(APIProblem) -> Value? {
    let patience = min(MonotonicClock.now() + Self.patienceNS, deadlineNS)
    if let value = try Self.answer(of: vm, untilNS: patience, answer) { return value }
    let acknowledged = Waiting<Void>()
    let notice = notify { acknowledged.happened(()) }
    let outcome = await acknowledged.outcome(untilNS: deadlineNS, within: configuration.load)
    notice.cancel()
    switch outcome {
    case .left: return nil
    case .refused:
      throw .tooManyWaiting(configuration.load, "What was asked of \(vm.id) goes on, but cannot be waited for.")
    case .happened, .expired: return try Self.answer(of: vm, untilNS: 0, answer)
    }
  }

  private static func answer<Value>(
    of vm: VM, untilNS: UInt64, _ answer: (UInt64) throws(MachineControlError) -> Value
  ) throws(APIProblem) -> Value? {
    do throws(MachineControlError) {
      return try answer(untilNS)
    } catch {
      if case .timedOut = error { return nil }
      throw APIProblem(error, vm: vm.id)
    }
  }

  /// What `work` returns, which blocks or keeps a processor busy: it runs on one of the API's worker threads, and the
  /// operation goes on there. Refused when they are busy and their queue is full.
  func working<Value: Sendable>(
    on workers: WorkerPool? = nil, _ work: @escaping @Sendable () throws(APIProblem) -> Value
  ) async throws(APIProblem) -> Value {
    let pool = workers ?? self.workers
    let result = await withCheckedContinuation {
      (continuation: CheckedContinuation<Result<Value, APIProblem>, Never>) in
      do throws(WorkerPool.Refusal) {
        try pool.submit {
          let result: Result<Value, APIProblem>
          do throws(APIProblem) { result = .success(try work()) } catch { result = .failure(error) }
          continuation.resume(returning: result)
        }
      } catch {
        continuation.resume(returning: .failure(.serverBusy))
      }
    }
    return try result.get()
  }
}
