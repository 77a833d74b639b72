import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport

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
        ("address", "\(client.endpoint)"),
        ("cpu", host.cpu),
        ("kvm api", "\(host.kvmAPIVersion)"),
        ("kick mechanism", host.kickMechanism),
        ("ring 0", host.ring0Emulated ? "emulated in software (slow)" : "native"),
        ("most VMs", "\(host.limits.maxVMs)"),
        ("most pools", "\(host.limits.maxPools)"),
        ("most vCPUs a VM", "\(host.limits.maxVCPUsPerVM)"),
        ("most memory a VM", "\(host.limits.maxMemoryMiBPerVM) MiB"),
        ("largest body", humanised(bytes: UInt64(host.limits.maxBodyBytes))),
        ("largest blob", humanised(bytes: UInt64(host.limits.maxBlobBytes))),
        ("all blobs", "at most \(humanised(bytes: UInt64(host.limits.maxBlobsBytes)))"),
        ("capabilities", capabilities.joined(separator: " ")),
      ])
    }
  }
}
