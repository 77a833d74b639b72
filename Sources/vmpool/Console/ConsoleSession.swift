import APIClient
import APIModel
import CommandLineSupport
import Glibc

/// Carries bytes between a VM's console and this process, by polling.
struct ConsoleSession {
  enum Ending {
    /// The VM stopped.
    case stopped(StopDocument?)
    /// The deadline came, and the session stopped the VM.
    case timeUp
    /// The user typed the key that ends the session.
    case left
    /// A signal asked this program to end.
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
  /// Bytes of output that the guest wrote faster than this session read them: the server keeps the last 64 KiB.
  private var lost: UInt64 = 0
  private var offset: UInt64
  private var pending: [UInt8]
  private var stdinIsOpen: Bool

  /// The key that ends a session at a terminal: Ctrl-].
  static let leavingKey: UInt8 = 0x1D

  /// Pauses between polls, in ms. They are short while something happens, and grow while nothing does.
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

  /// Says on stderr how much of the output could not be read, if any.
  func reportLoss() {
    if lost > 0 { StandardError.complain("\(lost) bytes of output came too fast and are lost") }
  }

  /// Carries bytes until the VM stops. At `end` it stops the VM.
  mutating func run(leavesOn key: UInt8? = nil, until end: ContinuousClock.Instant? = nil) throws -> Ending {
    var pause = Self.pauses.lowerBound
    var isTimeUp = false
    while true {
      let wait = min(pause, end.map(Self.milliseconds) ?? pause)
      if try takeInput(waiting: wait, leavesOn: key) { return .left }
      if let number = arrivedSignal { return .interrupted(by: number) }
      // The state comes before the output, so that the session reads all that a stopped VM ever wrote. Without input, the
      // server waits for the pause's length: it knows first when the VM stops.
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

  /// Sends the pending input. True when the server took some of it.
  mutating func sendInput() throws -> Bool {
    if pending.isEmpty { return false }
    do {
      let accepted = try client.writeConsole(of: vm, Array(pending.prefix(Self.inputLimit)), fence: fence)
      pending.removeFirst(accepted)
      return accepted > 0
    } catch APIError.problem(let problem) where problem.type == "/problems/wrong-state" {
      // The VM stopped just now. The session has yet to read what it wrote before.
      pending = []
      return false
    }
  }

  /// Waits for input, or until the pause is over. True when the user typed the key that ends the session.
  private mutating func takeInput(waiting pause: Int, leavesOn key: UInt8?) throws -> Bool {
    guard stdinIsOpen else { return false }
    // The session leaves stdin unread while the guest has not taken the input before it.
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

  /// Prints what the guest wrote, and returns how many bytes that was; nil when stdout cannot be written.
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
      // The VM stopped by itself, just before.
    }
  }

  /// Milliseconds from now to then, rounded up; 0 when that time is over.
  private static func milliseconds(to end: ContinuousClock.Instant) -> Int {
    let rest = ContinuousClock.now.duration(to: end)
    return max(0, Int((rest / .milliseconds(1)).rounded(.up)))
  }
}
