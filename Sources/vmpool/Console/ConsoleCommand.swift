import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport

struct ConsoleCommand: ServerCommand {
  static let configuration = CommandConfiguration(
    commandName: "console", abstract: "Connect to a VM's console until it stops.",
    discussion: """
      On a terminal every key goes to the guest but Ctrl-], which leaves and lets the VM run on. When stdin is no
      terminal it is sent to the guest, and output is printed until the VM stops.
      Ends with the guest's exit code when it exits, with 0 when it halts, powers off, resets or is left, with 1 when it stops otherwise.
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
      StandardError.complain("connected to \(vm); Ctrl-] leaves")
      ending = try withRawTerminal { try session.run(leavesOn: 0x1D) }
    } else {
      ending = try session.run(leavesOn: nil)
    }
    switch ending {
    case .left: StandardError.complain("left \(vm)")
    case .interrupted(let number): throw ExitCode(128 + number)
    case .outputClosed: throw ExitCode(74)
    // It may run for as long as it likes.
    case .timeUp: break
    case .stopped(let stop):
      if isTerminal || stop?.reason != "exited" {
        StandardError.complain("\(vm) \(stop.map(VMsCommand.describe) ?? "stopped")")
      }
      throw Self.exitCode(stop)
    }
  }

  /// The guest's own exit code, as far as an exit status can carry it.
  static func exitCode(_ stop: StopDocument?) -> ExitCode {
    switch stop?.reason {
    case "exited": ExitCode(Int32((stop?.exitCode ?? 1) & 0xFF))
    case "halted", "powered_off", "reset": .success
    default: .failure
    }
  }
}
