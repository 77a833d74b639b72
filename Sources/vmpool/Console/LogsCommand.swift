import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport

struct LogsCommand: ServerCommand {
  static let configuration = CommandConfiguration(
    commandName: "logs", abstract: "Print what a VM wrote to its console.",
    discussion: """
      The server keeps the last 64 KiB. With --follow it goes on until the VM stops or is deleted; `vmpool console` \
      also sends input.
      """)

  @OptionGroup var server: ServerOptions

  @Flag(name: .shortAndLong, help: "Go on printing what it writes, until it stops.")
  var follow = false

  @Option(
    name: [.customShort("n"), .long], help: ArgumentHelp("Begin with the last so many lines.", valueName: "lines"))
  var tail: Int?

  @Argument(help: VMsCommand.argument, completion: Completions.vms)
  var vm: String

  func validate() throws {
    guard tail ?? 0 >= 0 else { throw ValidationError("--tail is at least 0.") }
  }

  func run(_ client: VMPoolClient) throws {
    let vm = try client.vmReference(vm)
    let offset = try printKept(of: vm, client)
    guard follow else { return }
    var session = ConsoleSession(client: client, vm: vm.id, fence: vm.fence, offset: offset, input: .bytes([]))
    do {
      if case .outputFailed(let number) = try session.run() { throw outputFailure(number) }
    } catch APIError.problem(let problem) where problem.status == 404 || problem.type == "/problems/stale-fence" {
      StandardError.complain("\(vm.id) is gone")
    }
    session.reportLoss()
  }

  /// Prints what the server has, or its last lines. Returns the offset of what comes next.
  private func printKept(of vm: VMReference, _ client: VMPoolClient) throws -> UInt64 {
    var kept: [UInt8] = []
    var offset: UInt64 = 0
    while true {
      let output = try client.readConsole(of: vm.id, offset: offset, fence: vm.fence)
      offset = output.nextOffset
      if output.bytes.isEmpty { break }
      kept += output.bytes
      // Against a guest that writes without pause, for which this would never end.
      if kept.count > 1 << 20 { break }
    }
    try StandardOutput.write(tail.map { Self.lastLines($0, of: kept) } ?? kept)
    return offset
  }

  /// The last lines. A last line without a line break counts.
  static func lastLines(_ count: Int, of bytes: [UInt8]) -> [UInt8] {
    if count == 0 { return [] }
    let ends = bytes.indices.dropLast().filter { bytes[$0] == UInt8(ascii: "\n") }
    guard ends.count >= count else { return bytes }
    return Array(bytes[(ends[ends.count - count] + 1)...])
  }
}
