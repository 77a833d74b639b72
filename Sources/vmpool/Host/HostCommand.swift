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
      let rest = lines(of: capabilities).map { (name: "capabilities", value: $0) }
      return properties(
        [
          ("server", host.version),
          ("address", "\(client.endpoint)"),
          ("cpu", host.cpu),
          ("kvm api", "\(host.kvmAPIVersion)"),
          ("kick mechanism", host.kickMechanism),
          ("ring 0", host.ring0Emulated ? "emulated in software (slow)" : "native"),
          ("control group", controlGroup(host.controlGroup)),
          ("most VMs", "\(host.limits.maxVMs)"),
          ("memory of all VMs", "at most \(host.limits.maxMemoryMiB) MiB"),
          ("vCPUs of all VMs", "at most \(host.limits.maxVCPUs)"),
          ("most pools", "\(host.limits.maxPools)"),
          ("most vCPUs a VM", "\(host.limits.maxVCPUsPerVM)"),
          ("most memory a VM", "\(host.limits.maxMemoryMiBPerVM) MiB"),
          ("largest body", humanised(bytes: UInt64(host.limits.maxBodyBytes))),
          ("largest blob", humanised(bytes: UInt64(host.limits.maxBlobBytes))),
          ("all blobs", "at most \(humanised(bytes: UInt64(host.limits.maxBlobsBytes)))"),
        ] + rest)
    }
  }

  /// The words in lines that fit beside their name at a terminal of 80 columns.
  private func lines(of words: [String]) -> [String] {
    words.reduce(into: []) { lines, word in
      if let last = lines.last, last.count + 1 + word.count <= 60 {
        lines[lines.count - 1] = last + " " + word
      } else {
        lines.append(word)
      }
    }
  }

  /// The limits of the server's control groups.
  private func controlGroup(_ group: ControlGroupDocument) -> String {
    let limits = [
      group.memoryBytes.map { "memory " + humanised(bytes: UInt64($0)) }, group.tasks.map { "tasks \($0)" },
      group.processors.map { "processors \($0)" },
    ].compactMap(\.self)
    return limits.isEmpty ? "no limits" : limits.joined(separator: ", ")
  }
}
