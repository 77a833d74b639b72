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
  /// Parked for good.
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
  // Freed by deinit, after the thread has been joined and the last kicker has let go of this object.
  nonisolated(unsafe) let control: UnsafeMutablePointer<ckvm_vcpu>
  /// Guards the descriptor against being closed while it is used; a leaf lock. The vCPU's thread does not take it: it
  /// uses the number in `control`, and the descriptor is closed only after it was joined.
  private let descriptor: Mutex<VCPUDescriptor?>
  /// Guards the thread against being joined while it is signalled; a leaf lock, never held while waiting.
  private let thread = Mutex<JoinableThread?>(nil)
  /// Guards the statistics descriptor; taken before `descriptor`.
  private let statistics = Mutex<KernelCounts>(KernelCounts())
  /// Written by the vCPU's thread; says where it is to whoever looks, and orders nothing.
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

  private struct KernelCounts: ~Copyable {
    var open: VCPUStatistics?
    var finalSignalExits: UInt64 = 0
  }

  /// Takes over a vCPU whose registers are loaded, and starts its thread, parked.
  public convenience init(
    _ descriptor: consuming VCPUDescriptor, index: Int, mechanism: KickMechanism, handler: any ExitHandler
  ) throws(VCPUStartError) {
    unsafe try self.init(descriptor, index: index, mechanism: mechanism, handler: handler, entry: nil)
  }

  /// The same through another way into the guest than the shipped one (nil): for tests that hold the thread in the
  /// entry window.
  @unsafe init(
    _ descriptor: consuming VCPUDescriptor, index: Int, mechanism: KickMechanism, handler: any ExitHandler,
    entry: UnsafePointer<ckvm_entry>?
  ) throws(VCPUStartError) {
    Self.installHandlerOnce()
    // Safe: the descriptor outlives the mapping, which `join` undoes before it closes the descriptor.
    guard let control = unsafe ckvm_vcpu_new(descriptor.rawValue, UInt32(descriptor.runSize), mechanism.inC, entry)
    else {
      throw .mapping(Errno(rawValue: errno))
    }
    unsafe self.control = unsafe control
    self.index = index
    self.mechanism = mechanism
    self.handler = handler
    self.descriptor = Mutex(consume descriptor)
    var none: UInt64 = 0
    while unsafe !ckvm_request_exchange(control, &none, RequestWord.initial.bits) {}
    do throws(Errno) {
      try AnswerNotifier.shared.start()
      var started: JoinableThread? = try JoinableThread(stackBytes: 64 << 10, name: "vcpu-\(index)") { [self] in
        threadMain()
      }
      thread.withLock { swap(&$0, &started) }
    } catch {
      throw .thread(error)
    }
  }

  deinit {
    // Safe: nobody holds this object, and `join` has been called or the thread was never created.
    unsafe ckvm_vcpu_free(control)
  }

  private static let installed: Int32 = ckvm_install_handler(signal)
  private static func installHandlerOnce() { precondition(installed == 0, "sigaction refuses SIGUSR1") }

  /// Where it is.
  public var state: VCPUState { VCPUState(rawValue: stateCode.load(ordering: .relaxed)) ?? .stopped }

  // MARK: The kicker's side

  /// Publishes a request and delivers it: steps 1 and 2 of the protocol. Does not wait.
  ///
  /// `goal` sets what the vCPU is to be; it is ignored once the vCPU is to stop, unless it is `end`. Where `wakes` is false
  /// a parked vCPU sleeps on until somebody calls `wake`: soon, for whoever makes a request meanwhile waits for that, too.
  public func request(goal: VCPUGoal? = nil, wakes: Bool = true) throws(KickError) -> KickTicket {
    let now = MonotonicClock.now()
    if goal == nil { leaveTheGuestSomeTime(since: now) }
    return try publish(goal == nil ? .kick : .goal, goal: goal, wakes: wakes, requestedAtNS: now)
  }

  /// Delivers a request that was published without waking the vCPU.
  public func wake() {
    // Safe: `control` lives as long as this object. One that does not sleep, or has ended, is woken for nothing.
    unsafe Futex.wakeAll(ckvm_request_futex(control))
  }

  /// Kicks that follow each other as fast as they are answered would catch the thread in user space or on its way into
  /// the guest every time, and the guest would never run. So a vCPU that was kicked out is not kicked again for
  /// `paceNS`, and for twice as long each time that its guest did not get to run in between, up to five milliseconds.
  /// A goal (pause, stop …) does not wait.
  private func leaveTheGuestSomeTime(since now: UInt64) {
    let pace = Self.paceNS << min(unsafe ckvm_barren(control), 8)
    let ready = unsafe ckvm_last_out(control) + pace
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

  /// Tells the vCPU that a device has something for its guest, in case it sleeps. Does not wait.
  public func notifyInput() {
    // An ended vCPU has no use for input.
    _ = try? publish(.input, goal: nil, wakes: true, requestedAtNS: MonotonicClock.now())
  }

  private func publish(
    _ reasons: RequestWord.Reasons, goal: VCPUGoal?, wakes: Bool, requestedAtNS: UInt64
  ) throws(KickError) -> KickTicket {
    // Safe, here and below: `control` lives as long as this object.
    var found = unsafe ckvm_request_load(control)
    while true {
      guard let (next, delivery) = RequestWord(bits: found).requesting(reasons, goal: goal) else { throw .ended }
      if unsafe ckvm_request_exchange(control, &found, next.bits) {
        if delivery == .signal, let errno = sendSignal() { throw .signalFailed(errno) }
        if delivery == .wake, wakes { wake() }
        return KickTicket(
          generation: next.generation, requestedAtNS: requestedAtNS, coalesced: delivery == .shared,
          signalsSent: delivery == .signal ? 1 : 0)
      }
    }
  }

  private func sendSignal() -> Errno? {
    thread.withLock { thread in
      // Without a thread there is nobody to signal: it was joined, which the request word tells everyone who waits.
      thread?.signal(Self.signal) ?? nil
    }
  }

  /// Waits until the request of `ticket` has been served, until `deadlineNS` (CLOCK_MONOTONIC) at the latest. The
  /// signal is sent again every ten milliseconds.
  public func wait(for ticket: KickTicket, untilNS deadlineNS: UInt64) throws(KickError) -> KickOutcome {
    try wait(for: ticket, untilNS: deadlineNS, resends: true)
  }

  /// The same, without sending the signal again if asked to: a sound mechanism needs no second signal.
  func wait(for ticket: KickTicket, untilNS deadlineNS: UInt64, resends: Bool) throws(KickError) -> KickOutcome {
    var ticket = ticket
    var now = lookAtOnce(for: ticket, untilNS: deadlineNS)
    var resendAt = resends ? now + Self.resendIntervalNS : .max
    while served.generation < ticket.generation {
      let seen = ServedWord(bits: unsafe ckvm_served_set_bits(control, ServedWord.sleeperBit))
      if seen.generation >= ticket.generation { break }
      now = MonotonicClock.now()
      if now >= deadlineNS {
        throw .timedOut(generation: ticket.generation, waitedNS: now - ticket.requestedAtNS)
      }
      if now >= resendAt {
        try resend(&ticket)
        resendAt = now + Self.resendIntervalNS
      }
      let expected = UInt32(truncatingIfNeeded: seen.bits | ServedWord.sleeperBit)
      _ = unsafe Futex.wait(
        on: ckvm_served_futex(control), while: expected, timeoutNS: min(deadlineNS, resendAt) - now)
    }
    return outcome(of: ticket)
  }

  /// Most requests are served within the time that putting this thread to sleep and waking it would take, so it looks for
  /// a moment first; not where the vCPU's own thread may want this very processor, nor where it shares a signal with
  /// others, who may want it as well. Returns what time it is.
  private func lookAtOnce(for ticket: KickTicket, untilNS deadlineNS: UInt64) -> UInt64 {
    var now = ticket.requestedAtNS
    let end = ticket.coalesced ? now : min(deadlineNS, now + Self.lookNS)
    while served.generation < ticket.generation, now < end {
      ckvm_relax()
      now = MonotonicClock.now()
    }
    return now
  }

  private static let lookNS: UInt64 = sysconf(Int32(_SC_NPROCESSORS_ONLN)) > 1 ? 50_000 : 0
  private static let resendIntervalNS: UInt64 = 10_000_000

  private func resend(_ ticket: inout KickTicket) throws(KickError) {
    if RequestWord(bits: unsafe ckvm_request_load(control)).isParked {
      wake()
    } else if let errno = sendSignal() {
      throw .signalFailed(errno)
    } else {
      ticket.signalsSent += 1
    }
  }

  /// The last generation that was published.
  package var published: UInt64 { RequestWord(bits: unsafe ckvm_request_load(control)).generation }

  /// What has been served.
  var served: ServedWord { ServedWord(bits: unsafe ckvm_served_load(control)) }

  /// Asks the thread to wake the notifier when it next serves a request. Returns the last generation served before that.
  func markForNotice() -> UInt64 {
    ServedWord(bits: unsafe ckvm_served_set_bits(control, ServedWord.noticeBit)).generation
  }

  /// Sends the signal or the wake-up once more, on behalf of all who wait.
  func deliverAgain() {
    // An error is no news: the notifier tries again until the request is answered.
    if RequestWord(bits: unsafe ckvm_request_load(control)).isParked { wake() } else { _ = sendSignal() }
  }

  private func outcome(of ticket: KickTicket) -> KickOutcome {
    var phase: UInt32 = 0
    var out: UInt64 = 0
    var handler: UInt64 = 0
    // Safe: locals outlive the call.
    if unsafe !ckvm_find_serve(control, ticket.generation, &phase, &out, &handler) {
      (phase, out, handler) = (KickPhase.host.rawValue, MonotonicClock.now(), 0)
    }
    var landed = KickPhase(rawValue: phase) ?? .host
    // Out already when this was requested, for an earlier request or for none: it is not this one that brought it out.
    if landed != .parked, out <= ticket.requestedAtNS { landed = .host }
    // A handler that ran before this request was published ran for an earlier one.
    let signalled = handler > ticket.requestedAtNS ? handler - ticket.requestedAtNS : nil
    return KickOutcome(
      generation: ticket.generation, phase: landed, coalesced: ticket.coalesced,
      signalsSent: ticket.signalsSent, latencyNS: out > ticket.requestedAtNS ? out - ticket.requestedAtNS : 0,
      signalLatencyNS: signalled)
  }

  /// Kicks the vCPU out of KVM_RUN and waits for its acknowledgement; a running vCPU then goes on.
  public func kick(timeoutNS: UInt64) throws(KickError) -> KickOutcome {
    let ticket = try request()
    do throws(KickError) {
      let outcome = try wait(for: ticket, untilNS: ticket.requestedAtNS &+ timeoutNS)
      count(outcome)
      return outcome
    } catch {
      if case .timedOut = error { countTimeout() }
      throw error
    }
  }

  /// Counts a kick whose waiter gave up. `kick` does it by itself.
  public func countTimeout() { unanswered.add(1, ordering: .relaxed) }

  /// Counts an acknowledged kick. `kick` does it by itself; whoever kicks many with `request` and `wait` calls it.
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
    // Ended already means joined already.
    guard let ticket = try? request(goal: .end) else { return }
    // Acknowledged first, and only then is the thread taken away from those who signal it: this request may share the
    // signal of a kicker that has published and not sent it yet. Without a thread it would send none, and nobody would.
    _ = try? wait(for: ticket, untilNS: .max)
    if let thread = thread.withLock({ $0.take() }) { thread.join() }
    statistics.withLock { counts in
      if let last = readSignalExits(&counts) { counts.finalSignalExits = last }
      counts.open = nil
    }
    // Safe: the thread is gone, and with it the last user of the mapping and the descriptor's number.
    unsafe ckvm_vcpu_unmap(control)
    descriptor.withLock { $0 = nil }
  }

  /// The registers. Meaningful while the vCPU is ready, paused or stopped; nil when it has been joined. While it runs,
  /// the kernel makes the caller wait.
  public func registers() throws(KVMError) -> (GeneralRegisters, SpecialRegisters)? {
    typealias Registers = (GeneralRegisters, SpecialRegisters)
    return try descriptor.withLock { descriptor -> Result<Registers?, KVMError> in
      do throws(KVMError) {
        guard let general = try descriptor?.generalRegisters(), let special = try descriptor?.specialRegisters() else {
          return .success(nil)
        }
        return .success((general, special))
      } catch {
        return .failure(error)
      }
    }.get()
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
  /// vCPU's mutex, which KVM_RUN holds: anybody else would wait for a guest that never leaves. Reading them does not.
  /// A vCPU that never runs has nothing to tell and is not worth a descriptor.
  func openStatistics() {
    statistics.withLock { counts in
      descriptor.withLock { descriptor in
        // A kernel without binary statistics (before 5.14) is no reason to fail: its count is then absent.
        if let opened = try? descriptor?.openStatistics() { counts.open = consume opened }
      }
    }
  }
}
