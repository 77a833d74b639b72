import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport

struct ConsoleCommand: ServerCommand {
  static let configuration = CommandConfiguration(
    commandName: "console", abstract: "Connect to a VM's console until it stops.",
    discussion: """
      On a terminal every key goes to the guest but Ctrl-], which leaves and lets the VM run on. When stdin is no \
      terminal it is sent to the guest, and output is printed until the VM stops. `vmpool logs` only prints.

      EXIT STATUS
        As for `vmpool run`; 0 also when Ctrl-] leaves.
      """)

  @OptionGroup var server: ServerOptions

  @Argument(help: VMsCommand.argument, completion: Completions.vms)
  var vm: String

  @Flag(help: "Leave out what was printed before.")
  var fromNow = false

  func run(_ client: VMPoolClient) throws {
    let reference = try client.vmReference(vm)
    let (vm, fence) = (reference.id, reference.fence)
    let offset = fromNow ? try client.vm(vm, fence: fence).consoleBytes : 0
    var session = ConsoleSession(client: client, vm: vm, fence: fence, offset: offset)
    defer { session.reportLoss() }
    let ending: ConsoleSession.Ending
    if isTerminal {
      StandardError.complain("connected to \(vm); Ctrl-] leaves")
      ending = try withTerminal(.raw) { try session.run(leavesOn: ConsoleSession.leavingKey) }
    } else {
      ending = try session.run(leavesOn: nil)
    }
    switch ending {
    case .left: StandardError.complain("left \(vm)")
    case .interrupted(let number): throw ExitCode(128 + number)
    case .outputFailed(let number): throw outputFailure(number)
    // A console has no deadline.
    case .timeUp: break
    case .stopped(let stop):
      if isTerminal || stop?.reason != "exited" {
        StandardError.complain("\(vm) \(stop.map(VMsCommand.describe) ?? "stopped")")
      }
      throw GuestOutcome.exitCode(stop?.reason, stop?.exitCode)
    }
  }
}
