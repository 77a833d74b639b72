import CKVM
import Glibc
import LinuxSupport
import SystemPackage

/// What kickers, a vCPU's thread and its signal handler share: `struct ckvm_vcpu`, at one address for as long as this value
/// lives.
///
/// Methods may be called from any thread. Those under "The vCPU's thread" are that thread's alone.
@safe struct VCPUControl: ~Copyable, @unchecked Sendable {
  /// For tests, which reach into the structure.
  @unsafe let pointer: UnsafeMutablePointer<ckvm_vcpu>

  // Safe, in all of this file: the structure lives as long as this value, which its methods borrow, and its words are
  // atomics or the vCPU's thread's own. Locals outlive the calls that they are passed to.

  /// Maps the area that the vCPU `descriptor` shares with the kernel. `entry` nil: the shipped way into the guest.
  @unsafe init(descriptor: Int32, runSize: Int, entry: VCPUEntry?) throws(Errno) {
    guard let pointer = unsafe ckvm_vcpu_new(descriptor, UInt32(runSize), entry?.pointer) else {
      throw Errno(rawValue: errno)
    }
    unsafe self.pointer = unsafe pointer
    // No other thread knows of the structure.
    var found: UInt64 = 0
    while unsafe !ckvm_request_exchange(pointer, &found, RequestWord.initial.bits) {}
  }

  deinit { unsafe ckvm_vcpu_free(pointer) }

  /// Unmaps the shared area. The vCPU's thread must have been joined.
  func unmap() { unsafe ckvm_vcpu_unmap(pointer) }

  // MARK: The request word

  /// The request word; acquires.
  var request: RequestWord { RequestWord(bits: unsafe ckvm_request_load(pointer)) }

  /// Replaces `found` by `next`, or says false and what was found instead. Acquires and releases.
  func exchangeRequest(_ found: inout RequestWord, for next: RequestWord) -> Bool {
    unsafe ckvm_request_exchange(pointer, &found.bits, next.bits)
  }

  /// Wakes the thread if it sleeps on the request word.
  func wakeThread() { unsafe Futex.wakeAll(ckvm_request_futex(pointer)) }

  // MARK: The served word

  /// The served word; acquires.
  var served: ServedWord { ServedWord(bits: unsafe ckvm_served_load(pointer)) }

  /// Sets bits of the served word; returns what it was before. Acquires and releases.
  func mark(_ bits: UInt64) -> ServedWord { ServedWord(bits: unsafe ckvm_served_set_bits(pointer, bits)) }

  /// Sleeps while the served word is `expected`, for at most `timeoutNS`.
  func sleepOnServed(while expected: ServedWord, timeoutNS: UInt64) {
    let word = UInt32(truncatingIfNeeded: expected.bits)
    _ = unsafe Futex.wait(on: ckvm_served_futex(pointer), while: word, timeoutNS: timeoutNS)
  }

  /// How `generation` was served; nil when that was so long ago that it has been forgotten.
  func record(of generation: UInt64) -> (phase: KickPhase, outNS: UInt64, handlerNS: UInt64)? {
    var (phase, out, handler): (UInt32, UInt64, UInt64) = (0, 0, 0)
    guard unsafe ckvm_find_serve(pointer, generation, &phase, &out, &handler) else { return nil }
    return (KickPhase(rawValue: phase) ?? .host, out, handler)
  }

  // MARK: Hints and counts: relaxed, they order nothing

  /// When the thread was last brought out of the guest.
  var lastOutNS: UInt64 { unsafe ckvm_last_out(pointer) }
  /// How often in a row that was so without the guest having run.
  var fruitlessKicks: UInt64 { unsafe ckvm_fruitless_kicks(pointer) }
  /// Returns from KVM_RUN with the reason of this number.
  func exits(_ reason: Int) -> UInt64 { unsafe ckvm_exits(pointer, UInt32(reason)) }
  /// Returns with -EINTR.
  var eintrReturns: UInt64 { unsafe ckvm_eintr_returns(pointer) }
  /// … of those, without having entered the guest.
  var entryExits: UInt64 { unsafe ckvm_entry_exits(pointer) }
  /// … of those, without a request.
  var spuriousReturns: UInt64 { unsafe ckvm_spurious(pointer) }
  /// Returns with another error.
  var starts: UInt64 { unsafe ckvm_starts(pointer) }
  var runErrors: UInt64 { unsafe ckvm_run_errors(pointer) }

  // MARK: The vCPU's thread: requests

  /// Makes the kick signal's handler act on this vCPU when it runs on the calling thread, where the signal is blocked from
  /// now on. `unbind` before the thread ends.
  func bindThread(_ signal: Int32) { unsafe ckvm_bind_thread(pointer, signal) }
  /// Undoes that.
  func unbindThread(_ signal: Int32) { ckvm_bind_thread(nil, signal) }

  /// Takes what is requested.
  func takeRequests() -> RequestWord {
    RequestWord(bits: unsafe ckvm_request_clear(pointer, RequestWord.takenBits))
  }

  /// Sleeps while the request word is `expected`, for at most `timeoutNS` (nil: for ever).
  func sleepOnRequest(while expected: RequestWord, timeoutNS: UInt64?) {
    _ = unsafe Futex.wait(on: ckvm_request_futex(pointer), while: expected.futexValue, timeoutNS: timeoutNS)
  }

  /// Writes down how generations `first` to `last` were served. Before `publish`.
  func record(first: UInt64, last: UInt64, phase: KickPhase, outNS: UInt64, handlerNS: UInt64) {
    unsafe ckvm_record_serve(pointer, first, last, phase.rawValue, outNS, handlerNS)
  }

  /// Publishes that all up to `generation` has been served. Returns the word with the marks of those who wait.
  func publish(served generation: UInt64) -> ServedWord {
    ServedWord(bits: unsafe ckvm_served_publish(pointer, ServedWord(generation: generation).bits))
  }

  /// Wakes the threads that sleep on the served word.
  func wakeWaiters() { unsafe Futex.wakeAll(ckvm_served_futex(pointer)) }

  /// The task priority that the next KVM_RUN loads, where the VM has no interrupt controllers of the kernel's.
  var taskPriority: UInt64 { unsafe pointer.pointee.run.map { unsafe ckvm_task_priority($0) } ?? 0 }
  /// Sets it. Also before there is a thread.
  func setTaskPriority(_ priority: UInt64) {
    if let run = unsafe pointer.pointee.run { unsafe ckvm_set_task_priority(run, priority) }
  }

  /// Takes the handler's time stamp away; 0 when no handler ran since the last call.
  func takeHandlerTime() -> UInt64 { unsafe ckvm_take_handler_time(pointer) }

  func noteDeparture(at outNS: UInt64, guestRan: Bool) { unsafe ckvm_note_departure(pointer, outNS, guestRan) }
  func countExit(_ reason: UInt32) { unsafe ckvm_count_exit(pointer, reason) }
  func countInterruption(atEntry: Bool) { unsafe ckvm_count_eintr(pointer, atEntry) }
  func countSpurious() { unsafe ckvm_count_spurious(pointer) }
  func countStart() { unsafe ckvm_count_start(pointer) }
  func countRunError() { unsafe ckvm_count_run_error(pointer) }

  // MARK: The vCPU's thread: KVM_RUN

  /// The vCPU's descriptor, open as long as its thread lives.
  var descriptor: Int32 { unsafe pointer.pointee.fd }

  /// Step T7. Returns 0, -errno or `CKVM_ABORTED`.
  func enter() -> Int { unsafe ckvm_enter(pointer) }
  /// Step T0: KVM_RUN that does not run the guest.
  func enterInAdvance() -> Int { unsafe ckvm_enter_in_advance(pointer) }
  /// Step T3: KVM_RUN that completes an access, by `immediate_exit` (`signal` 0) or a pending `signal`.
  func complete(_ signal: Int32) -> Int { unsafe ckvm_complete(pointer, signal) }
  func clearImmediateExit() { unsafe ckvm_clear_immediate_exit(pointer) }
  /// Whether KVM_RUN, which has returned -EINTR, had not entered the guest.
  var wasAtEntry: Bool { unsafe ckvm_exit_reason(pointer) != UInt32(KVM_EXIT_INTR) }
  /// Why KVM_RUN, which has returned 0, did so.
  var exitReason: UInt32 { unsafe ckvm_exit_reason(pointer) }

  // MARK: The vCPU's thread: exits

  var portAccess: ckvm_io { unsafe ckvm_exit_io(pointer) }
  func portDatum(_ item: UInt32) -> UInt32 { unsafe ckvm_io_get(pointer, item) }
  func setPortDatum(_ item: UInt32, _ value: UInt32) { unsafe ckvm_io_set(pointer, item, value) }
  var memoryAccess: ckvm_mmio { unsafe ckvm_exit_mmio(pointer) }
  func setMemoryDatum(_ value: UInt64) { unsafe ckvm_mmio_set(pointer, value) }
  /// The processor's reason for not entering the guest, or the exit that KVM does not know.
  var hardwareReason: UInt64 { unsafe ckvm_hardware_reason(pointer) }
  var internalError: UInt32 { unsafe ckvm_internal_suberror(pointer) }
  var systemEvent: UInt32 { unsafe ckvm_system_event(pointer) }

  /// The instruction that KVM could not emulate, if it handed that out.
  var failedInstruction: [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: 15)
    let count = unsafe ckvm_failed_instruction(pointer, &bytes)
    return count > 0 ? Array(bytes.prefix(Int(count))) : nil
  }
}
