/// What a vCPU does after one of its accesses has been served.
public enum ExitAction: Sendable, Equatable {
  /// Goes on.
  case resume
  /// The guest polls for something that is not there: the vCPU sleeps until then (CLOCK_MONOTONIC), or until it is asked to
  /// look.
  case idle(untilNS: UInt64)
  /// The guest waits for a time: the vCPU sleeps until then (CLOCK_MONOTONIC). It serves requests meanwhile, which do not
  /// shorten the guest's sleep.
  case sleep(untilNS: UInt64)
  /// Does not enter the guest again in this run; `ExitHandler.end` says why.
  case end
}

/// Why a vCPU does not enter the guest again, though its owner has not asked it to stop.
public enum VCPUEnd: Sendable, Equatable {
  /// The guest says that it is done, with this code.
  case exited(code: UInt8)
  /// HLT without an in-kernel interrupt controller: nothing can wake it.
  case halted
  /// The guest turned the machine off.
  case poweredOff
  /// The guest reset the machine.
  case reset
  /// The guest or its execution failed; the sentence is the kernel's detail.
  case crashed(String)
}

/// Serves a VM's exits. Called on vCPU threads, several at once; must not wait for anything that waits for a vCPU.
public protocol ExitHandler: AnyObject, Sendable {
  /// A read of `size` (1, 2 or 4) bytes at an I/O port.
  func portRead(_ port: UInt16, size: UInt8) -> (value: UInt32, action: ExitAction)
  /// A write of `size` (1, 2 or 4) bytes to an I/O port.
  func portWrite(_ port: UInt16, size: UInt8, value: UInt32) -> ExitAction
  /// A read of `size` (1 to 8) bytes at a guest-physical address without memory.
  func memoryRead(_ address: UInt64, size: UInt8) -> (value: UInt64, action: ExitAction)
  /// A write of `size` (1 to 8) bytes to a guest-physical address without memory.
  func memoryWrite(_ address: UInt64, size: UInt8, value: UInt64) -> ExitAction
  /// Why an access was the guest's last. The vCPU asks it after an action `end`, which says it by itself no more than
  /// that: so the exit loop has no text to retain.
  func end() -> VCPUEnd
  /// A copy of up to `count` bytes of the guest's memory at a guest-physical address, as far as there is memory.
  func guestMemory(at address: UInt64, count: Int) -> [UInt8]
  /// The vCPU has left the guest of this run for good, by itself. Not called for a goal. Runs are counted from 0, by resets.
  func vcpuFinished(index: Int, run: UInt64, _ end: VCPUEnd)
  /// The vCPU has reached the goal `stop`, or `end` without a stop before: it will not touch guest memory or devices
  /// any more in this run. Called once a run, before the request is acknowledged.
  func vcpuParkedForGood(index: Int, run: UInt64)
}

extension ExitHandler {
  /// For handlers that do not know the guest's memory.
  public func guestMemory(at address: UInt64, count: Int) -> [UInt8] { [] }
}
