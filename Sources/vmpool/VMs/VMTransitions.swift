import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport

/// A command that takes VMs from one state to another.
protocol VMTransition: DocumentCommand {
  var vm: [String] { get }

  static func apply(_ client: VMPoolClient, _ vm: VMReference) throws(APIError) -> VMDocument
}

extension VMTransition {
  /// Prints a document for each VM with `--json` or a template, else one table. VMs that fail are left out.
  func run(_ client: VMPoolClient) throws {
    var changed: [VMDocument] = []
    let failure = try forEach(vm, client) { text in
      changed.append(try Self.apply(client, try client.vmReference(text)))
    }
    if output.isJSON {
      for document in changed { try show(document) { _ in "" } }
    } else if !changed.isEmpty {
      try output.show(list: changed, of: "VMs", VMsCommand.table)
    }
    if let failure { throw failure }
  }
}

extension VMsCommand {
  struct Start: VMTransition {
    static let configuration = CommandConfiguration(abstract: "Start ready VMs.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: VMsCommand.arguments, completion: Completions.vms) var vm: [String]

    static func apply(_ client: VMPoolClient, _ vm: VMReference) throws(APIError) -> VMDocument {
      try client.startVM(vm.id, fence: vm.fence)
    }
  }

  struct Pause: VMTransition {
    static let configuration = CommandConfiguration(abstract: "Pause running VMs.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: VMsCommand.arguments, completion: Completions.vms) var vm: [String]

    static func apply(_ client: VMPoolClient, _ vm: VMReference) throws(APIError) -> VMDocument {
      try client.pauseVM(vm.id, fence: vm.fence)
    }
  }

  struct Resume: VMTransition {
    static let configuration = CommandConfiguration(
      commandName: "resume", abstract: "Resume paused VMs.", aliases: ["unpause"])

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: VMsCommand.arguments, completion: Completions.vms) var vm: [String]

    static func apply(_ client: VMPoolClient, _ vm: VMReference) throws(APIError) -> VMDocument {
      try client.resumeVM(vm.id, fence: vm.fence)
    }
  }

  struct Stop: VMTransition {
    static let configuration = CommandConfiguration(
      abstract: "Stop VMs for good; their console output stays.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: VMsCommand.arguments, completion: Completions.vms) var vm: [String]

    static func apply(_ client: VMPoolClient, _ vm: VMReference) throws(APIError) -> VMDocument {
      try client.stopVM(vm.id, fence: vm.fence)
    }
  }
}
