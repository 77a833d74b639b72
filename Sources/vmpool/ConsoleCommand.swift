import APIClient
import APIModel
import ArgumentParser

struct ConsoleCommand: ServerCommand {
  static let configuration = CommandConfiguration(
    commandName: "console", abstract: "Connect to a VM's console until it stops.",
    discussion: """
      On a terminal every key goes to the guest but Ctrl-], which leaves and lets the VM run on. When stdin is no
      terminal it is sent to the guest, and output is printed until the VM stops.
      Ends with the guest's exit code when it exits, with 0 when it halts or is left, with 1 when it stops otherwise.
      """)

  @OptionGroup var server: ServerOptions

  @Argument(help: "The VM's id.")
  var vm: String

  @Flag(help: "Leave out what was printed before.")
  var fromNow = false

  func run(_ client: VMPoolClient) throws {
    let offset = fromNow ? try client.vm(vm).consoleBytes : 0
    var session = ConsoleSession(client: client, vm: vm, offset: offset)
    let ending: ConsoleSession.Ending
    if isTerminal {
      complain("connected to \(vm); Ctrl-] leaves")
      ending = try withRawTerminal { try session.run(leavesOn: 0x1D) }
    } else {
      ending = try session.run(leavesOn: nil)
    }
    switch ending {
    case .left: complain("left \(vm)")
    case .interrupted: throw ExitCode(130)
    case .outputClosed: throw ExitCode(1)
    case .stopped(let stop):
      if isTerminal || stop?.reason != "exited" { complain("\(vm) \(stop.map(VMsCommand.describe) ?? "stopped")") }
      throw Self.exitCode(stop)
    }
  }

  /// The guest's own exit code, as far as an exit status can carry it.
  static func exitCode(_ stop: StopDocument?) -> ExitCode {
    switch stop?.reason {
    case "exited": ExitCode(Int32((stop?.exitCode ?? 1) & 0xFF))
    case "halted": .success
    default: .failure
    }
  }
}

/// Carries bytes between a VM's console and this process, by polling.
struct ConsoleSession {
  enum Ending {
    /// The VM stopped.
    case stopped(StopDocument?)
    /// The user typed the key that leaves.
    case left
    /// A signal asked to end.
    case interrupted
    /// Nobody reads the output any more.
    case outputClosed
  }

  let client: VMPoolClient
  let vm: String
  var offset: UInt64
  private var pending: [UInt8] = []
  private var stdinIsOpen = true

  /// Pauses between polls, in ms: short while something happens, longer and longer while nothing does.
  private static let pauses = 10...200
  private static let inputLimit = 4096

  init(client: VMPoolClient, vm: String, offset: UInt64) {
    self.client = client
    self.vm = vm
    self.offset = offset
  }

  mutating func run(leavesOn key: UInt8?) throws -> Ending {
    var pause = Self.pauses.lowerBound
    while true {
      if try takeInput(waiting: pause, leavesOn: key) { return .left }
      if signalArrived { return .interrupted }
      // The state is asked for before the output, so that all a stopped VM ever wrote is read.
      let state = try client.vm(vm)
      let sent = state.state == "stopped" ? false : try sendInput()
      let output = try client.readConsole(of: vm, offset: offset)
      offset = output.nextOffset
      if !writeAll(output.bytes) { return .outputClosed }
      if !output.bytes.isEmpty || sent {
        pause = Self.pauses.lowerBound
      } else if state.state == "stopped" {
        return .stopped(state.stop)
      } else {
        pause = min(pause * 2, Self.pauses.upperBound)
      }
    }
  }

  /// Waits for input or for the pause to be over. True when the key that leaves was typed.
  private mutating func takeInput(waiting pause: Int, leavesOn key: UInt8?) throws -> Bool {
    // While the guest does not take what it was given, stdin waits.
    let wantsInput = stdinIsOpen && pending.count < Self.inputLimit
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

  /// Sends what is pending, as far as it is taken. True when some was.
  private mutating func sendInput() throws -> Bool {
    if pending.isEmpty { return false }
    do {
      let accepted = try client.writeConsole(of: vm, Array(pending.prefix(Self.inputLimit)))
      pending.removeFirst(accepted)
      return accepted > 0
    } catch APIError.problem(let problem) where problem.status == 409 {
      // It stopped just now; what it wrote before is still to be read.
      pending = []
      return false
    }
  }
}
