import APIClient
import APIModel
import ArgumentParser

struct HostCommand: DocumentCommand {
  static let configuration = CommandConfiguration(
    commandName: "host", abstract: "Show what the host can do: KVM, processor, limits.")

  @OptionGroup var server: ServerOptions
  @OptionGroup var output: OutputOptions

  func run(_ client: VMPoolClient) throws {
    try show(client.host()) { host in
      let capabilities = host.capabilities.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
      return properties([
        ("server", host.version),
        ("cpu", host.cpu),
        ("kvm api", "\(host.kvmAPIVersion)"),
        ("kick mechanism", host.kickMechanism),
        ("ring 0", host.ring0Emulated ? "emulated in software (slow)" : "native"),
        ("most VMs", "\(host.limits.maxVMs)"),
        ("most pools", "\(host.limits.maxPools)"),
        ("most vCPUs a VM", "\(host.limits.maxVCPUsPerVM)"),
        ("most memory a VM", "\(host.limits.maxMemoryMiBPerVM) MiB"),
        ("largest body", "\(host.limits.maxBodyBytes) bytes"),
        ("capabilities", capabilities.joined(separator: " ")),
      ])
    }
  }
}

struct ImagesCommand: DocumentCommand {
  static let configuration = CommandConfiguration(
    commandName: "images", abstract: "List the images that VMs can be made of, or show one.")

  @OptionGroup var server: ServerOptions
  @OptionGroup var output: OutputOptions

  @Argument(help: "The image to show; all when absent.")
  var name: String?

  func run(_ client: VMPoolClient) throws {
    if let name {
      try show(client.image(name)) { Self.table([$0]).text }
    } else {
      try show(list: client.images(), of: "images", Self.table)
    }
  }

  private static func table(_ images: [ImageDocument]) -> Table {
    var table = Table([
      .init("NAME"), .init("KIND"), .init("RING", .right), .init("VCPUS", .right), .init("BYTES", .right),
      .init("DESCRIPTION"),
    ])
    for image in images {
      table.add([
        image.name, image.kind, "\(image.ring)", "\(image.maxVCPUs)", "\(image.sizeBytes)", image.description,
      ])
    }
    return table
  }
}
