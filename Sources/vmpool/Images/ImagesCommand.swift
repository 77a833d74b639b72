import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport

struct ImagesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "images", abstract: "Look at the images that VMs can be made of, and bring your own.",
    subcommands: [List.self, Push.self, Pull.self, Inspect.self, Remove.self], defaultSubcommand: List.self)

  struct List: DocumentCommand {
    static let configuration = CommandConfiguration(abstract: "List the images, or show one.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "The image to show; all when absent.")
    var name: String?

    func run(_ client: VMPoolClient) throws {
      if let name {
        try show(client.image(name), ImagesCommand.details)
      } else {
        try show(list: client.images(), of: "images", ImagesCommand.table)
      }
    }
  }

  struct Remove: ServerCommand {
    static let configuration = CommandConfiguration(
      commandName: "rm", abstract: "Delete images, and the bytes that only they are made of.")

    @OptionGroup var server: ServerOptions

    @Argument(help: ArgumentHelp("The images' names.", valueName: "name"))
    var names: [String]

    func run(_ client: VMPoolClient) throws {
      if let failure = forEach(names, { name throws(APIError) in try client.deleteImage(name) }) { throw failure }
    }
  }

  static func table(_ images: [ImageDocument]) -> Table {
    var table = Table([
      .init("NAME"), .init("KIND"), .init("RING", .right), .init("VCPUS", .right), .init("BYTES", .right),
      .init("DESCRIPTION"),
    ])
    for image in images {
      table.add([
        image.name, image.kind, "\(image.ring)", "\(image.maxVCPUs)", "\(image.sizeBytes)",
        image.reason ?? image.description,
      ])
    }
    return table
  }

  /// Everything there is to know of an image.
  static func details(_ image: ImageDocument) -> String {
    let notes = image.notes.sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) }
    let segments = image.segments.map { segment in
      (
        name: "segment",
        value: "\(segment.address) \(segment.access) \(segment.fileBytes) bytes, \(segment.memoryBytes) in memory"
      )
    }
    let parts = [
      ("initramfs", image.manifest?.initramfs), ("command line", image.manifest?.commandLine),
      ("stored at", image.createdAt), ("reason", image.reason),
    ].compactMap { pair in pair.1.map { (name: pair.0, value: $0) } }
    let blocks = (image.manifest?.block ?? [:]).sorted { $0.key < $1.key }.map {
      (name: "block \($0.key)", value: $0.value)
    }
    return properties(
      [
        (name: "name", value: image.name), (name: "kind", value: image.kind),
        (name: "description", value: image.description), (name: "size", value: "\(image.sizeBytes) bytes"),
        (name: "digest", value: image.digest), (name: "most vCPUs", value: "\(image.maxVCPUs)"),
        (name: "ring", value: "\(image.ring)"), (name: "entry", value: image.entry ?? "when it is loaded"),
        (name: "state", value: image.state),
      ] + parts + blocks + segments + notes)
  }
}
