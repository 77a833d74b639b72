import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport

struct InspectCommand: ServerCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect", abstract: "Print the documents of VMs, leases, pools or images as JSON.",
    discussion: """
      A name is a pool's or an image's, an id a VM's or a lease's; a unique beginning of an id will do. --type decides \
      where a name is both; --type vm makes a lease's id stand for its VM. With --format '{{.state}}' only members are \
      printed.
      """)

  enum Kind: String, CaseIterable, ExpressibleByArgument { case vm, lease, pool, image }

  @OptionGroup var server: ServerOptions

  @OptionGroup var output: OutputOptions

  @Option(help: "What the names are of.")
  var type: Kind?

  @Argument(help: "The names and ids.", completion: Completions.everything)
  var names: [String]

  func validate() throws {
    if output.format == .table { throw ValidationError("--format is json here, or a template.") }
  }

  func run(_ client: VMPoolClient) throws {
    let failure = try forEach(names, client) { name in
      let type = try type ?? Self.kind(of: name, client)
      try StandardOutput.print(text(name, type, client))
    }
    if let failure { throw failure }
  }

  private func text(_ name: String, _ kind: Kind, _ client: VMPoolClient) throws -> String {
    switch kind {
    case .vm:
      let vm = try client.vmReference(name)
      return try output.json(client.vm(vm.id, fence: vm.fence))
    case .lease: return try output.json(client.lease(client.leaseReference(name)))
    case .pool: return try output.json(client.pool(name))
    case .image: return try output.json(client.image(name))
    }
  }

  /// What a name is of.
  private static func kind(of name: String, _ client: VMPoolClient) throws -> Kind {
    if name.hasPrefix("vm-") { return .vm }
    if name.hasPrefix("lease-") { return .lease }
    let pools = try client.pools().map(\.name)
    let images = try client.images().map(\.name)
    switch (pools.contains(name), images.contains(name)) {
    case (true, true): throw Failure("\(name) is a pool and an image; say --type pool or --type image.", status: 64)
    case (true, false): return .pool
    case (false, true): return .image
    case (false, false): break
    }
    do {
      _ = try client.vmReference(name)
      return .vm
    } catch let failure as Failure where failure.status == ExitCode(2) {
      let near = nearest(to: name, in: pools + images).map { " Did you mean \($0)?" } ?? ""
      throw Failure("There is no VM, lease, pool or image \(name).\(near)", status: 2)
    }
  }
}
