import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport

struct ImagesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "images", abstract: "Show the images that VMs can be made of, and bring your own.",
    subcommands: [List.self, Show.self, Push.self, Pull.self, Inspect.self, Delete.self], defaultSubcommand: List.self)

  struct List: ListCommand {
    static let configuration = CommandConfiguration(
      commandName: "list", abstract: "List the images.", aliases: ["ls"])
    static let noun = "images"

    @OptionGroup var server: ServerOptions
    @OptionGroup var list: ListOptions
    @OptionGroup var of: TenantOption

    func items(_ client: VMPoolClient) throws -> [ImageDocument] { try client.images(tenant: of.tenant) }

    func table(_ images: [ImageDocument]) -> Table { ImagesCommand.table(images) }
  }

  struct Show: DocumentCommand {
    static let configuration = CommandConfiguration(
      commandName: "show", abstract: "Show one image.", aliases: ["get"])

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var of: TenantOption

    @Argument(help: "The image's name.", completion: Completions.images)
    var name: String

    var mentioned: [Mention] { [.image(name)] }

    func run(_ client: VMPoolClient) throws {
      try show(client.image(name, tenant: of.tenant), ImagesCommand.details)
    }
  }

  struct Delete: ServerCommand {
    static let configuration = CommandConfiguration(
      commandName: "rm", abstract: "Delete images, and the bytes that only they are made of.", aliases: ["delete"])

    @OptionGroup var server: ServerOptions

    @Argument(help: ArgumentHelp("The images' names.", valueName: "name"), completion: Completions.storedImages)
    var names: [String]

    var mentioned: [Mention] { names.map { .image($0) } }

    func run(_ client: VMPoolClient) throws {
      if let failure = try forEach(names, client, { try client.deleteImage($0) }) { throw failure }
    }
  }

  static func table(_ images: [ImageDocument]) -> Table {
    var table = Table([
      .init("NAME", mayShrink: true), .init("KIND"), .init("RING", alignment: .right),
      .init("VCPUS", alignment: .right),
      .init("SIZE", alignment: .right), .init("AGE", alignment: .right), .init("DESCRIPTION", mayShrink: true),
    ])
    for image in images {
      table.add([
        image.name, image.kind, "\(image.ring)", "\(image.maxVCPUs)", humanised(bytes: UInt64(image.sizeBytes)),
        image.createdAt.map { Age.since($0) } ?? "", image.reason ?? image.description,
      ])
    }
    return table
  }

  /// Every member of an image, one a line.
  static func details(_ image: ImageDocument) -> String {
    let notes = image.notes.sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) }
    let segments = image.segments.map { segment in
      (
        name: "segment",
        value: "\(segment.address) \(segment.access) \(segment.fileBytes) bytes, \(segment.memoryBytes) in memory"
      )
    }
    let ownLine = image.commandLine
    let parts = [
      ("initramfs", image.manifest?.initramfs), ("command line", ownLine.isEmpty ? nil : ownLine),
      ("stored", image.createdAt.map { "\($0) (\(Age.since($0)) ago)" }), ("reason", image.reason),
    ].compactMap { pair in pair.1.map { (name: pair.0, value: $0) } }
    let modules = (image.manifest?.modules ?? []).map { module in
      (name: "module", value: module.blob + (module.string.map { " " + $0 } ?? ""))
    }
    let blocks = (image.manifest?.block ?? [:]).sorted { $0.key < $1.key }.map {
      (name: "block \($0.key)", value: $0.value)
    }
    return properties(
      [
        (name: "name", value: image.name), (name: "kind", value: image.kind),
        (name: "description", value: image.description), (name: "size", value: "\(image.sizeBytes) bytes"),
        (name: "digest", value: image.digest), (name: "most vCPUs", value: "\(image.maxVCPUs)"),
        (name: "least memory", value: "\(image.minMemoryMiB) MiB"),
        (name: "ring", value: "\(image.ring)"), (name: "entry", value: image.entry ?? "when it is loaded"),
        (name: "state", value: image.state),
      ] + parts + modules + blocks + segments + notes)
  }
}
