import APIClient
import APIModel
import ArgumentParser
import FoundationEssentials

extension VMsCommand {
  struct Create: DocumentCommand {
    static let configuration = CommandConfiguration(
      abstract: "Create a VM, and start it.",
      discussion: "The VM is made of an image (--image), or of the machine code in a file (--flat and --mode).")

    enum Mode: String, CaseIterable, ExpressibleByArgument { case real16, prot32, long64, long64_ring3 }

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var quiet: QuietOptions

    @Option(help: "The image; `vmpool images` lists them.", completion: Completions.images)
    var image: String?

    @Option(help: ArgumentHelp("A file of raw machine code, or - for stdin.", valueName: "file"), completion: .file())
    var flat: String?

    @Option(help: "The processor mode the code of --flat starts in.")
    var mode: Mode?

    @Option(help: ArgumentHelp("Where the code of --flat goes, such as 0x10000.", valueName: "address"))
    var loadAddress: String?

    @Option(help: ArgumentHelp("Where the code of --flat starts; the load address when absent.", valueName: "address"))
    var entry: String?

    @OptionGroup var vm: NewVMOptions

    @Flag(help: "Leave the VM ready, and do not start it.")
    var noStart = false

    @OptionGroup var arguments: GuestArgumentOptions

    func validate() throws {
      guard image != nil || flat != nil else {
        throw ValidationError(
          "Say what it is made of: --image NAME (`vmpool images` lists them, such as hello), or --flat FILE with --mode."
        )
      }
      guard image == nil || flat == nil else { throw ValidationError("Give either --image or --flat.") }
      guard (flat == nil) == (mode == nil) else { throw ValidationError("--flat and --mode go together.") }
      if flat != nil && arguments.append != nil { throw ValidationError("--append goes with --image.") }
      if flat == nil && (loadAddress != nil || entry != nil) {
        throw ValidationError("--load-address and --entry go with --flat.")
      }
    }

    var mentioned: [Mention] { image.map { [.image($0)] } ?? [] }

    func run(_ client: VMPoolClient) throws {
      let request = CreateVMDocument(
        image: image, flat: try flatImage(), vcpus: vm.vcpus, memoryMiB: vm.memory, start: !noStart,
        deadlineMS: vm.deadline?.milliseconds,
        commandLine: try arguments.commandLine(ofImage: image, client), environment: arguments.environment)
      let created = try client.createVM(request)
      Advice.report(created.warnings)
      try output.show(created, quiet: quiet.quiet, table)
    }

    private func flatImage() throws -> FlatImageDocument? {
      guard let flat, let mode else { return nil }
      let code = try contents(of: flat)
      return FlatImageDocument(
        mode: mode.rawValue, loadAddress: loadAddress, entry: entry, code: Data(code).base64EncodedString())
    }
  }
}
