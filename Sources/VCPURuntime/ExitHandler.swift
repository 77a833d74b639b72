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
  /// The guest says that it is done, with this code.
  case exit(code: UInt8)
  /// The guest did what nothing can go on from; `ExitHandler.failure` says what.
  case fail
  /// The guest turns the machine off.
  case powerOff
  /// The guest resets the machine.
  case reset

  /// Whether the guest is not entered again after it.
  var isEnd: Bool {
    switch self {
    case .resume, .idle, .sleep: false
    case .exit, .fail, .powerOff, .reset: true
    }
  }
}

/// Why a vCPU will not enter the guest again of its own.
public enum VCPUStop: Sendable, Equatable {
  /// The guest said so.
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
  /// What an action `fail` was about, as the end of a sentence about the guest.
  func failure() -> String
  /// A copy of up to `count` bytes of the guest's memory at a guest-physical address, as far as there is memory.
  func guestMemory(at address: UInt64, count: Int) -> [UInt8]
  /// The vCPU has left the guest of this run for good, by itself. Not called for a goal. Runs are counted from 0, by resets.
  func vcpuFinished(index: Int, run: UInt64, _ stop: VCPUStop)
  /// The vCPU has reached the goal `stop`, or `end` without a stop before: it will not touch guest memory or devices
  /// any more in this run. Called once a run, before the request is acknowledged.
  func vcpuParkedForGood(index: Int, run: UInt64)
}

extension ExitHandler {
  /// For handlers whose devices never fail.
  public func failure() -> String { "the guest did what its devices do not bear" }
  /// For handlers that do not know the guest's memory.
  public func guestMemory(at address: UInt64, count: Int) -> [UInt8] { [] }
}
