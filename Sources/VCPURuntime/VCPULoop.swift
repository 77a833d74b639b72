import CKVM
import LinuxSupport
import SystemPackage

// The vCPU thread's side of the kick protocol: the exit loop. It allocates nothing, retains nothing and locks nothing
// from one exit to the next.

extension VCPU {
  /// How the thread left the guest.
  private struct Departure {
    var phase: KickPhase
    /// CLOCK_MONOTONIC when it was out.
    var outNS: UInt64
    /// Whether KVM_RUN said -EINTR, so that there ought to be a request.
    var interrupted = false
    /// Whether the guest ran since the last departure, as far as can be told.
    var guestRan = true
    /// The vCPU will not go back by itself.
    var stop: VCPUStop?
  }

  func threadMain() {
    // Safe: `control` outlives this thread; it is unbound before the thread ends.
    unsafe ckvm_bind_thread(control, Self.signal)
    var departure = Departure(phase: .parked, outNS: 0)
    if mechanism == .signalMask {
      let result = unsafe ckvm_unblock_in_run(control.pointee.fd, Self.signal)
      if result < 0 { departure.stop = .crashed("KVM_SET_SIGNAL_MASK failed: \(Errno(rawValue: -result))") }
    }
    serveUntilEnd(departure)
    ckvm_bind_thread(nil, Self.signal)
  }

  private func serveUntilEnd(_ first: Departure) {
    var departure = first
    var served: UInt64 = 0
    var isFinished = false
    var parkedForGood = false
    var hasRun = false
    // Whether the last access may not be in the registers yet: -EINTR says that it is, whoever set the flag.
    var accessIsOpen = false
    var wakeNS: UInt64 = 0
    while true {
      if let stop = departure.stop, !isFinished {
        isFinished = true
        stateCode.store(VCPUState.halted.rawValue, ordering: .relaxed)
        handler.vcpuFinished(index: index, stop)
      }
      let word = take()
      if word.isPending {
        let mustComplete = word.goal >= .pause && accessIsOpen && !isFinished
        accessIsOpen = accessIsOpen && !mustComplete
        if mustComplete, let stop = completeAccess(&wakeNS) {
          // The access that was still under way ended the guest. The request stays unanswered until that is known.
          isFinished = true
          handler.vcpuFinished(index: index, stop)
        }
        if word.goal >= .stop, !parkedForGood {
          parkedForGood = true
          handler.vcpuParkedForGood(index: index)
        }
        show(word.goal, isFinished)
        publish(first: served + 1, last: word.generation, departure)
        served = word.generation
        if word.goal == .end { return }
      } else if departure.interrupted {
        unsafe ckvm_count_spurious(control)
      }
      if word.goal == .run, !isFinished {
        if !hasRun {
          hasRun = true
          openStatistics()
          if let stop = enterInAdvance() {
            departure = Departure(phase: .host, outNS: MonotonicClock.now(), stop: stop)
            continue
          }
        }
        departure = sleep(&wakeNS) ?? runGuest(handler, &accessIsOpen, &wakeNS)
      } else {
        park(untilNS: .max)
        departure = Departure(phase: .parked, outNS: MonotonicClock.now())
      }
    }
  }

  /// Step 5, first half: takes the flag away, **then** the requests. The other way round, a kick that came between the
  /// two would be lost: its flag wiped, its request unseen.
  private func take() -> RequestWord {
    switch mechanism {
    case .signalMask: while ckvm_drain(Self.signal) {}
    case .immediateExit, .ipFixup, .signalOnly: unsafe ckvm_clear_immediate_exit(control)
    }
    return RequestWord(bits: unsafe ckvm_request_clear(control, RequestWord.takenBits))
  }

  /// Step 5, second half: tells that everything up to `last` has been served.
  private func publish(first: UInt64, last: UInt64, _ departure: Departure) {
    if departure.phase != .parked {
      unsafe ckvm_note_departure(control, departure.outNS, departure.guestRan)
    }
    let handled = unsafe ckvm_take_handler_time(control)
    unsafe ckvm_record_serve(control, first, last, departure.phase.rawValue, departure.outNS, handled)
    if unsafe ckvm_served_publish(control, last << 1) & 1 != 0 { unsafe Futex.wakeAll(ckvm_served_futex(control)) }
  }

  private func show(_ goal: VCPUGoal, _ isFinished: Bool) {
    let state: VCPUState =
      switch goal {
      case .ready: .ready
      case .run: isFinished ? .halted : .running
      case .pause: isFinished ? .halted : .paused
      case .stop, .end: .stopped
      }
    stateCode.store(state.rawValue, ordering: .relaxed)
  }

  /// Goes on with a sleep that the guest asked for, until `wakeNS` or a request; nil when it is over.
  private func sleep(_ wakeNS: inout UInt64) -> Departure? {
    guard wakeNS > 0 else { return nil }
    if MonotonicClock.now() < wakeNS {
      park(untilNS: wakeNS)
      return Departure(phase: .parked, outNS: MonotonicClock.now())
    }
    wakeNS = 0
    return nil
  }

  /// Sleeps until there is a request, or until `deadlineNS` (`max`: for ever). `take` ends the parking.
  private func park(untilNS deadlineNS: UInt64) {
    var found = unsafe ckvm_request_load(control)
    while true {
      let word = RequestWord(bits: found)
      if word.isPending { return }
      let parked = RequestWord(bits: found | RequestWord.parkedBit)
      guard unsafe ckvm_request_exchange(control, &found, parked.bits) else { continue }
      found = parked.bits
      while !RequestWord(bits: found).isPending {
        let now = deadlineNS == .max ? 0 : MonotonicClock.now()
        if now >= deadlineNS { return }
        _ = unsafe Futex.wait(
          on: ckvm_request_futex(control), while: parked.futexValue,
          timeoutNS: deadlineNS == .max ? nil : deadlineNS - now)
        found = unsafe ckvm_request_load(control)
      }
      return
    }
  }

  /// Runs the guest until a request is pending, it sleeps until `wakeNS`, or the vCPU is finished.
  private func runGuest(
    _ handler: borrowing any ExitHandler, _ accessIsOpen: inout Bool, _ wakeNS: inout UInt64
  ) -> Departure {
    var failures = 0
    var hasExited = false
    while true {
      let result = unsafe ckvm_enter(control)
      // Return value first, then errno, then the exit reason: on -EINTR the reason may not have been written.
      if result == 0 {
        hasExited = true
        accessIsOpen = true
        let reason = unsafe ckvm_exit_reason(control)
        unsafe ckvm_count_exit(control, reason)
        if reason == KVM_EXIT_IO || reason == KVM_EXIT_MMIO {
          switch serveAccess(reason, handler) {
          case .resume: continue
          case .idle(let untilNS):
            park(untilNS: untilNS)
            return Departure(phase: .parked, outNS: MonotonicClock.now())
          case .sleep(let untilNS):
            wakeNS = untilNS
            return Departure(phase: .host, outNS: MonotonicClock.now())
          case let end: return Departure(phase: .host, outNS: MonotonicClock.now(), stop: stop(for: end, handler))
          }
        }
        if let stop = describeStop(reason) {
          return Departure(phase: .host, outNS: MonotonicClock.now(), stop: stop)
        }
        continue
      }
      let now = MonotonicClock.now()
      if result == CKVM_ABORTED {
        return Departure(phase: unsafe ckvm_take_fixed_up(control) ? .entry : .host, outNS: now, guestRan: hasExited)
      }
      if result == -Int(EINTR) {
        accessIsOpen = false
        let atEntry = unsafe ckvm_exit_reason(control) == CKVM_NOT_WRITTEN
        unsafe ckvm_count_eintr(control, atEntry)
        return Departure(
          phase: atEntry ? .entry : .guest, outNS: now, interrupted: true, guestRan: !atEntry || hasExited)
      }
      // A vCPU that another one starts says EAGAIN each time, as often as the guest takes processors off and on.
      if result != -Int(EAGAIN) { failures += 1 }
      if let stop = afterFailure(number: failures, result) {
        return Departure(phase: .host, outNS: now, stop: stop)
      }
    }
  }

  /// Step T0. A VM's first KVM_RUN makes a thread in the kernel, which a signal forestalls: it then fails with ENOMEM,
  /// on kernels that have the one half of that change and not the other (commit 916b7f42b3b3) for good. So it is made
  /// before the kick signal is unblocked, and with the flag set, so that the guest does not run. It counts nowhere: no
  /// signal and no kick has to do with it. `signal_mask` needs it not: the kernel unblocks the signal later than that.
  private func enterInAdvance() -> VCPUStop? {
    guard mechanism != .signalMask else { return nil }
    var failures = 0
    while true {
      let result = unsafe ckvm_enter_in_advance(control)
      if result == -Int(EINTR) { break }
      failures += 1
      if let stop = afterFailure(number: failures, result) { return stop }
    }
    ckvm_unblock(Self.signal)
    return nil
  }

  /// Counts a KVM_RUN that failed; nil when it is to be tried again. ENOMEM is what a first one says that a signal has
  /// interrupted (a stop signal cannot be blocked), EAGAIN asks to be called again. Anything else, or either of them
  /// again and again, is the end.
  private func afterFailure(number: Int, _ result: Int) -> VCPUStop? {
    unsafe ckvm_count_run_error(control)
    if number < Self.attempts, result == -Int(ENOMEM) || result == -Int(EAGAIN) { return nil }
    return .crashed("KVM_RUN failed: \(Errno(rawValue: Int32(truncatingIfNeeded: -result)))")
  }

  private static let attempts = 8

  /// Completes a port or memory access that has been served but not yet put into the registers, without running the
  /// guest; it may consist of several. Returns a stop if one of them ended the guest.
  private func completeAccess(_ wakeNS: inout UInt64) -> VCPUStop? {
    let byself = mechanism == .signalMask ? Self.signal : 0
    // An instruction can be split into a few accesses, never into thousands.
    for _ in 0..<4096 {
      let result = unsafe ckvm_complete(control, byself)
      if result == -Int(EINTR) {
        unsafe ckvm_count_eintr(control, ckvm_exit_reason(control) == CKVM_NOT_WRITTEN)
        break
      }
      guard result == 0 else {
        unsafe ckvm_count_run_error(control)
        return .crashed("KVM_RUN failed while an access was completed: \(Errno(rawValue: Int32(-result)))")
      }
      let reason = unsafe ckvm_exit_reason(control)
      unsafe ckvm_count_exit(control, reason)
      if reason == KVM_EXIT_IO || reason == KVM_EXIT_MMIO {
        switch serveAccess(reason, handler) {
        case .resume, .idle: break
        case .sleep(let untilNS): wakeNS = untilNS
        case let end: return stop(for: end, handler)
        }
      } else if let stop = describeStop(reason) {
        return stop
      }
    }
    _ = mechanism == .signalMask ? ckvm_drain(Self.signal) : false
    return nil
  }

  private func serveAccess(_ reason: UInt32, _ handler: borrowing any ExitHandler) -> ExitAction {
    if reason == KVM_EXIT_MMIO {
      let access = unsafe ckvm_exit_mmio(control)
      if access.is_write {
        return handler.memoryWrite(access.address, size: UInt8(truncatingIfNeeded: access.size), value: access.value)
      }
      let (value, action) = handler.memoryRead(access.address, size: UInt8(truncatingIfNeeded: access.size))
      unsafe ckvm_mmio_set(control, value)
      return action
    }
    let access = unsafe ckvm_exit_io(control)
    var last = ExitAction.resume
    // A string instruction hands over several data at once; the whole of it is served even if one ends the guest.
    for item in 0..<access.count {
      let action: ExitAction
      if access.is_write {
        action = handler.portWrite(access.port, size: access.size, value: unsafe ckvm_io_get(control, item))
      } else {
        let (value, effect) = handler.portRead(access.port, size: access.size)
        unsafe ckvm_io_set(control, item, value)
        action = effect
      }
      if !last.isEnd { last = action }
    }
    return last
  }

  /// What an exit that is neither a port nor a memory access means; nil when the vCPU just goes on.
  private func describeStop(_ reason: UInt32) -> VCPUStop? {
    switch Int32(truncatingIfNeeded: reason) {
    case KVM_EXIT_HLT: return .halted
    case KVM_EXIT_SHUTDOWN: return .crashed("triple fault")
    case KVM_EXIT_FAIL_ENTRY:
      let cause = unsafe ckvm_entry_failure(control)
      return .crashed("the processor refused to enter the guest, hardware reason 0x\(String(cause, radix: 16))")
    case KVM_EXIT_INTERNAL_ERROR:
      let kind = unsafe ckvm_internal_suberror(control)
      return .crashed(
        kind == KVM_INTERNAL_ERROR_EMULATION ? describeEmulationFailure() : "KVM internal error \(kind)")
    case KVM_EXIT_SYSTEM_EVENT: return describeSystemEvent()
    case KVM_EXIT_INTR, KVM_EXIT_IRQ_WINDOW_OPEN: return nil
    default: return .crashed("KVM exit \(reason), which this server does not serve")
    }
  }

  private func describeSystemEvent() -> VCPUStop {
    let event = unsafe ckvm_system_event(control)
    switch Int32(truncatingIfNeeded: event) {
    case KVM_SYSTEM_EVENT_SHUTDOWN: return .poweredOff
    case KVM_SYSTEM_EVENT_RESET: return .reset
    default: return .crashed("system event \(event)")
    }
  }

  /// How the vCPU stops after an access that was the guest's last; nil where it was not.
  private func stop(for action: ExitAction, _ handler: borrowing any ExitHandler) -> VCPUStop? {
    switch action {
    case .resume, .idle, .sleep: nil
    case .exit(let code): .exited(code: code)
    case .fail: .crashed(handler.failure())
    case .powerOff: .poweredOff
    case .reset: .reset
    }
  }
}
