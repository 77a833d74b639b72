import APIClient
import APIModel
import CommandLineSupport
import Glibc

/// Carries bytes between a VM's console and this process, by polling.
struct ConsoleSession {
  enum Ending {
    /// The VM stopped.
    case stopped(StopDocument?)
    /// The deadline came, and it was stopped.
    case timeUp
    /// The user typed the key that leaves.
    case left
    /// A signal asked to end.
    case interrupted(by: Int32)
    /// stdout cannot be written, for this reason.
    case outputFailed(errno: Int32)
  }

  /// The guest's input.
  enum Input {
    case standardInput
    case bytes([UInt8])
  }

  let client: VMPoolClient
  let vm: String
  /// The lease's fence, where a lease holds the VM.
  let fence: UInt64?
  /// Bytes that were written too fast to be read: the server keeps the last 64 KiB.
  private(set) var lost: UInt64 = 0
  private var offset: UInt64
  private var pending: [UInt8]
  private var stdinIsOpen: Bool

  /// The key that leaves at a terminal: Ctrl-].
  static let leavingKey: UInt8 = 0x1D

  /// Pauses between polls, in ms: short while something happens, longer and longer while nothing does.
  private static let pauses = 10...200
  private static let inputLimit = VMPoolClient.consoleInputLimit

  init(client: VMPoolClient, vm: String, fence: UInt64? = nil, offset: UInt64 = 0, input: Input = .standardInput) {
    self.client = client
    self.vm = vm
    self.fence = fence
    self.offset = offset
    switch input {
    case .standardInput: (pending, stdinIsOpen) = ([], true)
    case .bytes(let bytes): (pending, stdinIsOpen) = (bytes, false)
    }
  }

  /// Goes on until the VM stops; at `end` it is stopped.
  mutating func run(leavesOn key: UInt8? = nil, until end: ContinuousClock.Instant? = nil) throws -> Ending {
    var pause = Self.pauses.lowerBound
    var isTimeUp = false
    while true {
      let wait = min(pause, end.map(Self.milliseconds) ?? pause)
      if try takeInput(waiting: wait, leavesOn: key) { return .left }
      if let number = arrivedSignal { return .interrupted(by: number) }
      // The state is asked for before the output, so that all a stopped VM ever wrote is read. Without input to look
      // for, the pause is spent where its end is known first.
      let state = try client.vm(vm, waitFor: "stopped", timeoutMS: stdinIsOpen ? 0 : wait, fence: fence)
      let isStopped = state.state == "stopped"
      let sent = isStopped ? false : try sendInput()
      guard let count = try passOutput() else { return .outputFailed(errno: errno) }
      if count > 0 || sent {
        pause = Self.pauses.lowerBound
      } else if isStopped {
        return isTimeUp && state.stop?.reason == "killed" ? .timeUp : .stopped(state.stop)
      } else {
        pause = min(pause * 2, Self.pauses.upperBound)
      }
      if let end, !isStopped, !isTimeUp, end <= .now {
        isTimeUp = true
        try stop()
      }
    }
  }

  /// Sends what is pending, as far as it is taken. True when some was.
  mutating func sendInput() throws -> Bool {
    if pending.isEmpty { return false }
    do {
      let accepted = try client.writeConsole(of: vm, Array(pending.prefix(Self.inputLimit)), fence: fence)
      pending.removeFirst(accepted)
      return accepted > 0
    } catch APIError.problem(let problem) where problem.type == "/problems/wrong-state" {
      // It stopped just now; what it wrote before is still to be read.
      pending = []
      return false
    }
  }

  /// Waits for input or for the pause to be over. True when the key that leaves was typed.
  private mutating func takeInput(waiting pause: Int, leavesOn key: UInt8?) throws -> Bool {
    guard stdinIsOpen else { return false }
    // While the guest does not take what it was given, stdin waits.
    let wantsInput = pending.count < Self.inputLimit
    guard waitForInput(wantsInput, milliseconds: pause), wantsInput else { return false }
    guard let bytes = readInput(atMost: Self.inputLimit) else {
      stdinIsOpen = false
      return false
    }
    if let key, let place = bytes.firstIndex(of: key) {
      pending += bytes[..<place]
      _ = try sendInput()
      return true
    }
    pending += bytes
    return false
  }

  /// Prints what the guest wrote. How many bytes that was; nil when they cannot be written.
  private mutating func passOutput() throws -> Int? {
    let output = try client.readConsole(of: vm, offset: offset, fence: fence)
    if output.startOffset > offset { lost += output.startOffset - offset }
    offset = output.nextOffset
    return writeAll(output.bytes, to: STDOUT_FILENO) ? output.bytes.count : nil
  }

  private func stop() throws {
    do {
      _ = try client.stopVM(vm, fence: fence)
    } catch APIError.problem(let problem) where problem.type == "/problems/wrong-state" {
      // It stopped by itself, just in time.
    }
  }

  /// From now to then, rounded up; 0 when it is over.
  private static func milliseconds(to end: ContinuousClock.Instant) -> Int {
    let rest = ContinuousClock.now.duration(to: end)
    return max(0, Int((rest / .milliseconds(1)).rounded(.up)))
  }
}
