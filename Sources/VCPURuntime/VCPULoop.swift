import CKVM
import LinuxSupport
import SystemPackage

// The vCPU thread's side of the kick protocol: steps T0 to T8. From one exit to the next (`runGuest`) it allocates
// nothing, retains nothing and locks nothing.

extension VCPU {
  /// How the thread left the guest.
  private struct Departure {
    var phase: KickPhase
    /// CLOCK_MONOTONIC when it was out.
    var outNS: UInt64
    /// Whether KVM_RUN said -EINTR, so that there ought to be a request.
    var interrupted = false
    /// Whether the guest ran since the last departure, as far as is known.
    var guestRan = true
    /// Why the guest is not entered again in this run.
    var end: VCPUEnd?
  }

  /// What the thread alone knows of its vCPU.
  struct Progress {
    /// The last generation that was served.
    var served: UInt64 = 0
    /// The guest's run: how often it was reset.
    var run: UInt64 = 0
    /// The guest has ended and is not entered again. Its owner knows.
    var isFinished = false
    /// The owner knows that the vCPU is parked for good.
    var isParkedForGood = false
    /// T0 has been made.
    var hasRun = false
    /// The guest stood still since it last ran, and KVM has yet to mark that in its clock.
    var wasPaused = false
    /// The last access may not be in the registers yet. -EINTR says that it is, however KVM_RUN was ended.
    var accessIsOpen = false
    /// The guest sleeps until this time; 0: it does not.
    var wakeNS: UInt64 = 0
    /// How long it sleeps from when it is entered next.
    var remainingSleepNS: UInt64 = 0

    init(_ state: VCPULoopState, hasRun: Bool = false, served: UInt64 = 0, run: UInt64 = 0) {
      remainingSleepNS = state.remainingSleepNS
      self.hasRun = hasRun
      self.served = served
      self.run = run
    }

    /// Begins the next run with `state` if `word` is of that one, and returns whether it is. What is known of the guest's
    /// last run says nothing of the next.
    mutating func follow(_ word: RequestWord, from state: VCPULoopState) -> Bool {
      guard word.isInOddRun != (run % 2 == 1) else { return false }
      self = Progress(state, hasRun: hasRun, served: served, run: run + 1)
      return true
    }
  }

  /// What the thread does next.
  private enum Step {
    /// Serves requests, having left the guest or slept: T1 to T5.
    case serve
    /// T6.
    case park
    /// T7 and T8.
    case enter
    /// Leaves the loop.
    case end
  }

  func threadMain() {
    control.bindThread(Self.signal)
    noteThread()
    var departure = Departure(phase: .parked, outNS: 0)
    if mechanism == .signalMask {
      let result = ckvm_unblock_in_run(control.descriptor, Self.signal)
      if result < 0 { departure.end = .crashed("KVM_SET_SIGNAL_MASK failed: \(Errno(rawValue: -result))") }
    }
    serveUntilEnd(departure)
    noteThreadEnd()
    control.unbindThread(Self.signal)
  }

  private func serveUntilEnd(_ first: Departure) {
    var progress = Progress(initialState)
    var departure = first
    var step = Step.serve
    while true {
      switch step {
      case .serve:
        step = serve(departure, &progress)
      case .park:
        park(untilNS: .max)
        departure = Departure(phase: .parked, outNS: MonotonicClock.now())
        step = .serve
      case .enter:
        departure = prepare(&progress) ?? sleep(&progress) ?? runGuest(handler, &progress)
        step = .serve
      case .end:
        return
      }
    }
  }

  // MARK: T1 to T5

  private func serve(_ departure: Departure, _ progress: inout Progress) -> Step {
    if let end = departure.end { finish(end, &progress) }
    let word = take()
    if word.isPending {
      if progress.follow(word, from: initialState) { control.setTaskPriority(initialState.taskPriority) }
      if word.goal >= .pause { complete(&progress) }
      act(word, &progress)
      publish(first: progress.served + 1, last: word.generation, departure)
      progress.served = word.generation
    } else if departure.interrupted {
      control.countSpurious()
    }
    if word.goal == .end { return .end }
    return word.goal == .run && !progress.isFinished ? .enter : .park
  }

  /// Reports the guest's end to the owner, once.
  private func finish(_ end: VCPUEnd, _ progress: inout Progress) {
    guard !progress.isFinished else { return }
    progress.isFinished = true
    stateCode.store(VCPUState.halted.rawValue, ordering: .relaxed)
    handler.vcpuFinished(index: index, run: progress.run, end)
  }

  /// Steps T1 and T2: takes the flag away, **then** the requests. The other way round, a kick that came between the two
  /// would be lost: its flag wiped, its request unseen.
  private func take() -> RequestWord {
    switch mechanism {
    case .signalMask: while ckvm_drain(Self.signal) {}
    case .immediateExit: control.clearImmediateExit()
    }
    return control.takeRequests()
  }

  /// Step T3: completes a port or memory access that has been served but not yet put into the registers, without running
  /// the guest. It may consist of several. One of them may end the guest.
  private func complete(_ progress: inout Progress) {
    guard progress.accessIsOpen, !progress.isFinished else { return }
    progress.accessIsOpen = false
    guard let end = completeAccess(&progress) else { return }
    // The access that ended the guest is open in its turn.
    progress.accessIsOpen = true
    finish(end, &progress)
  }

  /// Step T4. The request stays unanswered until the owner knows all this.
  private func act(_ word: RequestWord, _ progress: inout Progress) {
    if word.goal == .pause, progress.hasRun { progress.wasPaused = true }
    if word.reasons.contains(.errand) { doErrands(isParked: word.goal != .run || progress.isFinished, progress) }
    if word.goal >= .stop, !progress.isParkedForGood {
      progress.isParkedForGood = true
      discardAccess(&progress)
      handler.vcpuParkedForGood(index: index, run: progress.run)
    }
    let state: VCPUState =
      switch word.goal {
      case .ready: .ready
      case .run: progress.isFinished ? .halted : .running
      case .pause: progress.isFinished ? .halted : .paused
      case .stop, .end: .stopped
      }
    stateCode.store(state.rawValue, ordering: .relaxed)
  }

  private func doErrands(isParked: Bool, _ progress: Progress) {
    let errands = takeErrands()
    guard isParked, !errands.isEmpty else { return }
    var state = VCPULoopState()
    state.taskPriority = control.taskPriority
    let now = MonotonicClock.now()
    state.remainingSleepNS = progress.wakeNS > now ? progress.wakeNS - now : progress.remainingSleepNS
    perform(errands, state)
  }

  /// Step T5: publishes that everything up to `last` has been served.
  private func publish(first: UInt64, last: UInt64, _ departure: Departure) {
    if departure.phase != .parked { control.noteDeparture(at: departure.outNS, guestRan: departure.guestRan) }
    control.record(
      first: first, last: last, phase: departure.phase, outNS: departure.outNS, handlerNS: control.takeHandlerTime())
    let before = control.publish(served: last)
    if before.wantsWake { control.wakeWaiters() }
    if before.wantsNotice { AnswerNotifier.wake() }
  }

  // MARK: T6

  /// Sleeps until there is a request, or until `deadlineNS` (`max`: for ever). `take` ends the parking.
  private func park(untilNS deadlineNS: UInt64) {
    var found = control.request
    while !found.isPending {
      let parked = RequestWord(bits: found.bits | RequestWord.parkedBit)
      guard control.exchangeRequest(&found, for: parked) else { continue }
      found = parked
      while !found.isPending {
        let now = deadlineNS == .max ? 0 : MonotonicClock.now()
        if now >= deadlineNS { return }
        control.sleepOnRequest(while: parked, timeoutNS: deadlineNS == .max ? nil : deadlineNS - now)
        found = control.request
      }
    }
  }

  /// Goes on with a sleep that the guest asked for, until its time or a request; nil when it is over.
  private func sleep(_ progress: inout Progress) -> Departure? {
    guard progress.wakeNS > 0 else { return nil }
    if MonotonicClock.now() < progress.wakeNS {
      park(untilNS: progress.wakeNS)
      return Departure(phase: .parked, outNS: MonotonicClock.now())
    }
    progress.wakeNS = 0
    return nil
  }

  // MARK: T0, T7 and T8

  /// What is due before the guest runs for the first time, and after each pause. Returns a departure if it cannot run.
  private func prepare(_ progress: inout Progress) -> Departure? {
    if !progress.hasRun {
      progress.hasRun = true
      openStatistics()
      if let end = enterInAdvance() { return Departure(phase: .host, outNS: MonotonicClock.now(), end: end) }
    }
    if progress.remainingSleepNS > 0 {
      progress.wakeNS = MonotonicClock.now() &+ progress.remainingSleepNS
      progress.remainingSleepNS = 0
    }
    if progress.wasPaused {
      progress.wasPaused = false
      noteStandstill()
    }
    return nil
  }

  /// Step T0. A VM's first KVM_RUN makes a thread in the kernel, which a signal forestalls: it then fails with ENOMEM,
  /// on kernels that have the one half of that change and not the other (commit 916b7f42b3b3) for good. So it is made
  /// before the kick signal is unblocked, and with the flag set, so that the guest does not run. It counts nowhere: no
  /// signal and no kick has to do with it. `signal_mask` needs it not: the kernel unblocks the signal later than that.
  private func enterInAdvance() -> VCPUEnd? {
    guard mechanism != .signalMask else { return nil }
    var failures = 0
    while true {
      let result = control.enterInAdvance()
      if result == -Int(EINTR) { break }
      failures += 1
      if let end = afterFailure(number: failures, result) { return end }
    }
    ckvm_unblock(Self.signal)
    return nil
  }

  /// Steps T7 and T8: runs the guest until a request is pending, the guest sleeps, or it has ended.
  private func runGuest(_ handler: borrowing any ExitHandler, _ progress: inout Progress) -> Departure {
    var failures = 0
    var hasExited = false
    while true {
      let result = control.enter()
      // Return value first, then errno, then the exit reason: on -EINTR the reason may be an older one.
      if result == 0 {
        hasExited = true
        progress.accessIsOpen = true
        let reason = control.exitReason
        control.countExit(reason)
        if reason == KVM_EXIT_IO || reason == KVM_EXIT_MMIO {
          switch serveAccess(reason, handler) {
          case .resume: continue
          case .idle(let untilNS):
            park(untilNS: untilNS)
            return Departure(phase: .parked, outNS: MonotonicClock.now())
          case .sleep(let untilNS):
            progress.wakeNS = untilNS
            return Departure(phase: .host, outNS: MonotonicClock.now())
          case .end: return Departure(phase: .host, outNS: MonotonicClock.now(), end: handler.end())
          }
        }
        if let end = end(forExit: reason) {
          return Departure(phase: .host, outNS: MonotonicClock.now(), end: end)
        }
        continue
      }
      let now = MonotonicClock.now()
      if result == CKVM_ABORTED { return Departure(phase: .host, outNS: now, guestRan: hasExited) }
      if result == -Int(EINTR) {
        progress.accessIsOpen = false
        let atEntry = control.wasAtEntry
        control.countInterruption(atEntry: atEntry)
        return Departure(
          phase: atEntry ? .entry : .guest, outNS: now, interrupted: true, guestRan: !atEntry || hasExited)
      }
      // A vCPU that another one starts says EAGAIN each time, as often as the guest takes processors off and on.
      if result != -Int(EAGAIN) { failures += 1 }
      if let end = afterFailure(number: failures, result) {
        return Departure(phase: .host, outNS: now, end: end)
      }
    }
  }

  /// Counts a KVM_RUN that failed; nil when it is to be tried again. ENOMEM is what a first one says that a signal has
  /// interrupted (a stop signal cannot be blocked), EAGAIN asks to be called again. Anything else, or either of them
  /// again and again, is the end.
  private func afterFailure(number: Int, _ result: Int) -> VCPUEnd? {
    if result == -Int(EAGAIN) { control.countStart() } else { control.countRunError() }
    if number < Self.attempts, result == -Int(ENOMEM) || result == -Int(EAGAIN) { return nil }
    return .crashed("KVM_RUN failed: \(Errno(rawValue: Int32(truncatingIfNeeded: -result)))")
  }

  private static let attempts = 8
}
