import CKVM
import Glibc
import KVM
import LinuxSupport
import Synchronization
import SystemPackage

/// Why a vCPU could not be made ready.
public enum VCPUStartError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The shared area could not be mapped.
  case mapping(Errno)
  /// The thread could not be created.
  case thread(Errno)

  /// What happened, and what to do.
  public var description: String {
    switch self {
    case .mapping(let errno): "the vCPU's kvm_run area cannot be mapped: \(errno)"
    case .thread(let errno): "no thread for the vCPU: \(errno); raise the limit on processes (ulimit -u, TasksMax)"
    }
  }
}

/// What a vCPU is doing.
public enum VCPUState: UInt8, Sendable {
  /// Not started.
  case ready
  /// In the guest, or serving one of its exits.
  case running
  /// Parked between two instructions of the guest, its registers complete.
  case paused
  /// Left the guest by itself: HLT, an exit or a crash.
  case halted
  /// Parked for good, unless it is reset.
  case stopped
}

/// A virtual CPU with a thread of its own, which sleeps on a futex while it does not run.
///
/// All methods may be called from any thread, but for `join`, which its owner calls once. The kick protocol is
/// described in this module's documentation; `RequestWord` is its heart, `VCPULoop.swift` the thread's side.
@safe public final class VCPU: Sendable {
  /// The standard signal that kicks; a real-time signal would queue, and fail once RLIMIT_SIGPENDING is used up.
  static let signal: Int32 = SIGUSR1

  /// Its number in its VM.
  public let index: Int
  /// How it is kicked.
  public let mechanism: KickMechanism
  let handler: any ExitHandler
  /// What the thread begins each run with.
  let initialState: VCPULoopState
  /// Freed after the thread has been joined and the last kicker has let go of this object.
  let control: VCPUControl
  /// Holds the descriptor. The vCPU's thread takes this lock for errands, `join` after that thread has ended, and the owner
  /// when it puts other registers back. Held for some calls of the kernel, none of which waits for the guest. A leaf lock.
  private let descriptor: Mutex<VCPUDescriptor?>
  /// Guards the thread against being joined while it is signalled; a leaf lock, never held while waiting.
  private let thread = Mutex<JoinableThread?>(nil)
  /// Guards the work that waits for the thread; a leaf lock.
  let errands = Mutex(Errands())
  /// Guards what is known of the thread's processor time; a leaf lock, under which a file of the kernel's is read.
  let identity = Mutex(ThreadIdentity.notYet)
  /// Guards the statistics descriptor; taken before `descriptor`.
  private let statistics = Mutex<KernelCounts>(KernelCounts())
  /// Where the vCPU is. Its thread writes it; it orders nothing.
  let stateCode = Atomic<UInt8>(VCPUState.ready.rawValue)
  /// Acknowledged kicks by phase; relaxed: sums that order nothing.
  private let landed = LandedCounts()
  private let unanswered = Atomic<UInt64>(0)

  private struct LandedCounts: ~Copyable {
    let guest = Atomic<UInt64>(0)
    let entry = Atomic<UInt64>(0)
    let host = Atomic<UInt64>(0)
    let parked = Atomic<UInt64>(0)
  }

  struct Errands {
    var last: UInt64 = 0
    var waiting: [Errand] = []
  }

  private struct KernelCounts: ~Copyable {
    var open: KernelStatistics?
    var finalSignalExits: UInt64 = 0
  }

  /// Takes over a vCPU whose registers are loaded, and starts its thread, parked.
  ///
  /// The thread is called by `name` and the vCPU's number, as far as 15 bytes go. `state` is what another vCPU's thread kept
  /// of the guest that goes on here. `entry` is another way into the guest than the shipped one (nil).
  public init(
    _ descriptor: consuming VCPUDescriptor, index: Int, name: String = "vcpu", mechanism: KickMechanism,
    handler: any ExitHandler, state: VCPULoopState = VCPULoopState(), entry: VCPUEntry? = nil
  ) throws(VCPUStartError) {
    Self.installHandlerOnce()
    // Safe: the descriptor outlives the mapping, which `join` undoes before it closes the descriptor.
    do throws(Errno) {
      control = unsafe try VCPUControl(
        descriptor: descriptor.rawValue, runSize: descriptor.runSize, entry: entry)
    } catch { throw .mapping(error) }
    self.index = index
    self.mechanism = mechanism
    self.handler = handler
    initialState = state
    control.setTaskPriority(state.taskPriority)
    self.descriptor = Mutex(consume descriptor)
    do throws(Errno) {
      try AnswerNotifier.shared.start()
      let threadName = "\(name.prefix(13))/\(index)"
      var started: JoinableThread? = try JoinableThread(stackBytes: 64 << 10, name: threadName, role: .vcpu) { [self] in
        threadMain()
      }
      thread.withLock { swap(&$0, &started) }
    } catch {
      throw .thread(error)
    }
  }

  private static let installed: Int32 = ckvm_install_handler(signal)
  private static func installHandlerOnce() { precondition(installed == 0, "sigaction refuses SIGUSR1") }

  /// Whether the calling thread is a vCPU's, which may call little of the kernel.
  public static var isCallingThread: Bool { ckvm_is_bound() }

  /// Where it is.
  public var state: VCPUState { VCPUState(rawValue: stateCode.load(ordering: .relaxed)) ?? .stopped }

  // MARK: The kicker's side

  /// Publishes a request and delivers it: steps K1 and K2 of the protocol. Does not wait, but a kick (no goal) is paced: it
  /// may sleep for up to five milliseconds before it is published. Throws `ended`, and nothing else: where the signal cannot
  /// be sent, the request stands, and the signal is sent again until it is answered.
  ///
  /// `goal` sets what the vCPU is to be. Once that is `stop`, only `ready` and `end` have an effect: `ready` begins another
  /// run, and may be requested when the handler knows that the vCPU is parked for good. Where `wakes` is false a parked vCPU
  /// sleeps on until `wake` is called: soon, since all requests that come meanwhile wait for that, too.
  public func request(goal: VCPUGoal? = nil, wakes: Bool = true) throws(KickError) -> KickTicket {
    let now = MonotonicClock.now()
    if goal == nil { leaveTheGuestSomeTime(since: now) }
    return try publish(goal == nil ? .kick : .goal, goal: goal, wakes: wakes, requestedAtNS: now)
  }

  /// Delivers a request that was published without waking the vCPU. One that does not sleep, or has ended, is woken for
  /// nothing.
  public func wake() { control.wakeThread() }

  /// Kicks as fast as they are answered would catch the thread outside of the guest every time, and the guest would never
  /// run. So the kicker waits for `paceNS` before it kicks a vCPU again. It waits twice as long each
  /// time that the guest did not get to run in between, up to five milliseconds.
  /// A goal (pause, stop …) does not wait.
  private func leaveTheGuestSomeTime(since now: UInt64) {
    let pace = Self.paceNS << min(control.fruitlessKicks, 8)
    let ready = control.lastOutNS + pace
    var now = now
    // A short time is not worth a timer: the yield lets the vCPU's own thread run where processors are few. In a long
    // one it has not run so far, so many are those who wait here: out of its way.
    while now < ready {
      if pace < Self.longPaceNS { sched_yield() } else { MonotonicClock.sleep(untilNS: ready) }
      now = MonotonicClock.now()
    }
  }

  private static let longPaceNS: UInt64 = 150_000
  private static let paceNS: UInt64 = 20_000

  /// Ends the vCPU's nap, if it takes one, since a device has something for its guest. Does not wait.
  public func notifyInput() {
    // An ended vCPU has no use for input.
    _ = try? publish(.input, goal: nil, wakes: true, requestedAtNS: MonotonicClock.now())
  }

  func publishErrand() throws(KickError) -> KickTicket {
    try publish(.errand, goal: nil, wakes: true, requestedAtNS: MonotonicClock.now())
  }

  private func publish(
    _ reasons: RequestWord.Reasons, goal: VCPUGoal?, wakes: Bool, requestedAtNS: UInt64
  ) throws(KickError) -> KickTicket {
    var found = control.request
    while true {
      guard let (next, delivery) = found.requesting(reasons, goal: goal) else { throw .ended }
      if control.exchangeRequest(&found, for: next) {
        var ticket = KickTicket(
          generation: next.generation, requestedAtNS: requestedAtNS, coalesced: delivery == .shared, signalsSent: 0)
        if delivery == .wake, wakes { wake() }
        if delivery == .signal {
          signal(for: &ticket)
          if ticket.signalError != nil { AnswerNotifier.shared.oweSignal(to: self, for: ticket) }
        }
        return ticket
      }
    }
  }

  /// Sends the signal, and writes down in the ticket how that went.
  private func signal(for ticket: inout KickTicket) {
    ticket.signalError = sendSignal()
    if ticket.signalError == nil { ticket.signalsSent += 1 }
  }

  private func sendSignal() -> Errno? {
    thread.withLock { thread in
      // Without a thread there is nothing to signal: it was joined, after it had answered every request.
      thread?.signal(Self.signal) ?? nil
    }
  }

  /// Waits until the request of `ticket` has been served, until `deadlineNS` (CLOCK_MONOTONIC) at the latest. The
  /// signal is sent again every ten milliseconds. Throws `timedOut`, or `signalFailed` if the last signal was refused.
  public func wait(for ticket: KickTicket, untilNS deadlineNS: UInt64) throws(KickError) -> KickOutcome {
    try wait(for: ticket, untilNS: deadlineNS, resends: true)
  }

  /// The same, without sending the signal again if asked to: a sound mechanism needs no second signal.
  func wait(for ticket: KickTicket, untilNS deadlineNS: UInt64, resends: Bool) throws(KickError) -> KickOutcome {
    var ticket = ticket
    var now = lookAtOnce(for: ticket, untilNS: deadlineNS)
    var resendAt = resends ? now + Self.resendIntervalNS : .max
    while control.served.generation < ticket.generation {
      let seen = control.mark(ServedWord.sleeperBit)
      if seen.generation >= ticket.generation { break }
      now = MonotonicClock.now()
      if now >= deadlineNS {
        if let errno = ticket.signalError { throw .signalFailed(errno) }
        throw .timedOut(generation: ticket.generation, waitedNS: now - ticket.requestedAtNS)
      }
      if now >= resendAt {
        resend(&ticket)
        resendAt = now + Self.resendIntervalNS
      }
      let expected = ServedWord(bits: seen.bits | ServedWord.sleeperBit)
      control.sleepOnServed(while: expected, timeoutNS: min(deadlineNS, resendAt) - now)
    }
    return outcome(of: ticket)
  }

  /// Spins for up to `lookNS` before the thread sleeps: a futex sleep and wake cost as much. Does not spin on one processor,
  /// which the vCPU's own thread may want, nor when others share the signal. Returns the time.
  private func lookAtOnce(for ticket: KickTicket, untilNS deadlineNS: UInt64) -> UInt64 {
    var now = ticket.requestedAtNS
    let end = ticket.coalesced ? now : min(deadlineNS, now + Self.lookNS)
    while control.served.generation < ticket.generation, now < end {
      ckvm_relax()
      now = MonotonicClock.now()
    }
    return now
  }

  private static let lookNS: UInt64 = sysconf(Int32(_SC_NPROCESSORS_ONLN)) > 1 ? 50_000 : 0
  private static let resendIntervalNS: UInt64 = 10_000_000

  private func resend(_ ticket: inout KickTicket) {
    if control.request.isParked { wake() } else { signal(for: &ticket) }
  }

  /// The last generation that was published.
  package var published: UInt64 { control.request.generation }

  /// Sends the signal or the wake-up once more, on behalf of all who wait.
  func deliverAgain() {
    // An error is no news: the notifier tries again until the request is answered.
    if control.request.isParked { wake() } else { _ = sendSignal() }
  }

  private func outcome(of ticket: KickTicket) -> KickOutcome {
    let record = control.record(of: ticket.generation) ?? (.host, MonotonicClock.now(), 0)
    // Out already when this was requested, for an earlier request or for none: it is not this one that brought it out.
    let wasOut = record.phase != .parked && record.outNS <= ticket.requestedAtNS
    func sinceRequest(_ time: UInt64) -> UInt64? { time > ticket.requestedAtNS ? time - ticket.requestedAtNS : nil }
    return KickOutcome(
      generation: ticket.generation, phase: wasOut ? .host : record.phase, coalesced: ticket.coalesced,
      signalsSent: ticket.signalsSent, latencyNS: sinceRequest(record.outNS) ?? 0,
      // A handler that ran before this request was published ran for an earlier one.
      signalLatencyNS: sinceRequest(record.handlerNS))
  }

  /// Kicks the vCPU out of KVM_RUN and waits for its acknowledgement; a running vCPU then goes on.
  public func kick(timeoutNS: UInt64) throws(KickError) -> KickOutcome {
    let ticket = try request()
    do throws(KickError) {
      let outcome = try wait(for: ticket, untilNS: ticket.requestedAtNS &+ timeoutNS)
      count(outcome)
      return outcome
    } catch {
      countTimeout()
      throw error
    }
  }

  /// Counts a kick whose waiter gave up. `kick` does it by itself.
  public func countTimeout() { unanswered.add(1, ordering: .relaxed) }

  /// Counts an acknowledged kick. `kick` does it by itself; callers of `request` and `wait` call it.
  public func count(_ outcome: KickOutcome) {
    switch outcome.phase {
    case .guest: landed.guest.add(1, ordering: .relaxed)
    case .entry: landed.entry.add(1, ordering: .relaxed)
    case .host: landed.host.add(1, ordering: .relaxed)
    case .parked: landed.parked.add(1, ordering: .relaxed)
    }
  }

  // MARK: The owner's side

  /// Ends the thread, waits for it, and closes the vCPU's descriptors. By its owner, once.
  public func join() {
    let ticket: KickTicket
    do throws(KickError) {
      ticket = try request(goal: .end)
    } catch {
      // A request is refused after the end alone: ended already means joined already. A signal that could not be sent is no
      // end: the caller would unmap the memory of a guest that runs.
      precondition(error == .ended)
      return
    }
    // Acknowledged first, and only then is the thread taken away from those who signal it: this request may share the
    // signal of a kicker that has published and not sent it yet. Without a thread no one could send it.
    _ = try? wait(for: ticket, untilNS: .max)
    if let thread = thread.withLock({ $0.take() }) { thread.join() }
    statistics.withLock { counts in
      if let last = readSignalExits(&counts) { counts.finalSignalExits = last }
      counts.open = nil
    }
    // The thread is gone, and with it the last user of the mapping and the descriptor's number.
    control.unmap()
    descriptor.withLock { $0 = nil }
  }

  /// Does something with the descriptor, unless it is closed (nil), while the vCPU's thread is not in KVM_RUN.
  func withDescriptor<Value, Failure>(
    _ body: (borrowing VCPUDescriptor) throws(Failure) -> Value
  ) throws(Failure) -> Value? {
    try descriptor.withLock { descriptor throws(Failure) -> Value? in
      switch descriptor {
      case .some(let descriptor): try body(descriptor)
      case .none: nil
      }
    }
  }

  // MARK: Counts

  /// Adds its kicks to a sum.
  func addKicks(to sum: inout VCPUCounts) {
    sum.landed[0] += landed.guest.load(ordering: .relaxed)
    sum.landed[1] += landed.entry.load(ordering: .relaxed)
    sum.landed[2] += landed.host.load(ordering: .relaxed)
    sum.landed[3] += landed.parked.load(ordering: .relaxed)
    sum.kickTimeouts += unanswered.load(ordering: .relaxed)
  }

  /// The kernel's own count of returns to user space because of a signal; the last known after `join`.
  public var kernelSignalExits: UInt64 {
    statistics.withLock { counts in
      if let now = readSignalExits(&counts) { counts.finalSignalExits = now }
      return counts.finalSignalExits
    }
  }

  /// The kernel's binary statistics by name; empty before the first run, after `join`, and where the kernel has none.
  public var kernelStatistics: [String: UInt64] {
    statistics.withLock { (try? $0.open?.all()) ?? [:] }
  }

  private func readSignalExits(_ counts: inout KernelCounts) -> UInt64? {
    (try? counts.open?.signalExits()) ?? nil
  }

  /// Opens the kernel's statistics: by the vCPU's thread before it first enters the guest. KVM_GET_STATS_FD takes the
  /// vCPU's mutex, which KVM_RUN holds: another thread would wait for a guest that never leaves. Reading them does not.
  /// A vCPU that never runs has nothing to tell and is not worth a descriptor.
  func openStatistics() {
    statistics.withLock { counts in
      _ = withDescriptor { descriptor in
        // A kernel without binary statistics (before 5.14) is no reason to fail: its count is then absent.
        if let opened = try? descriptor.openStatistics() { counts.open = consume opened }
      }
    }
  }
}
