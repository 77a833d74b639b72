import APIModel
import ArgumentParser
import CommandLineSupport

/// The command-line client.
@main
struct VMPoolCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "vmpool",
    abstract: "Small virtual machines, kept ready by vmpoold, and kicks for their vCPUs.",
    discussion: """
      An id may be shortened to a unique beginning, and a lease stands for its VM.

      EXIT STATUS
        0      done
        1      the server refused; its reason is on stderr
        2      there is no such VM, vCPU, image, pool, lease or context (any more)
        64     the command line is wrong
        65     a file is wrong
        66     a file cannot be read
        69     the server cannot be reached
        73     a file cannot be created
        74     stdout, or the file of an image, cannot be written
        75     no VM of the pool was ready in time: try again
        76     the answer is not one of vmpool's API
        77     the server asks for a key, or the key may not do this
        124    the state of --wait-for did not come in time
        128+n  signal n ended the program, such as 130 for Ctrl-C
      `vmpool run --help` lists those of a run, which are those of a console, too.

      COMPLETION
        vmpool --generate-completion-script bash|zsh|fish
      `make install` puts the scripts where the shells look. They complete names of VMs, leases, pools and images.
      """,
    version: Release.version,
    groupedSubcommands: [
      CommandGroup(
        name: "VMs",
        subcommands: [
          VMsCommand.self, VMsCommand.Delete.self, BootCommand.self, LogsCommand.self, ConsoleCommand.self,
          TopCommand.self, VCPUsCommand.self, KickCommand.self, RegistersCommand.self,
        ]),
      CommandGroup(
        name: "Pools and leases",
        subcommands: [
          PoolsCommand.self, RunCommand.self, LeaseCommand.self, LeasesCommand.self, ExtendCommand.self,
          ReleaseCommand.self,
        ]),
      CommandGroup(name: "Images", subcommands: [ImagesCommand.self, BlobsCommand.self]),
      CommandGroup(
        name: "The server",
        subcommands: [
          InspectCommand.self, EventsCommand.self, HostCommand.self, MetricsCommand.self, KeysCommand.self,
          AuditCommand.self, ContextCommand.self,
        ]),
      CommandGroup(name: "This machine", subcommands: [BenchCommand.self]),
    ])

  @OptionGroup var server: ServerOptions

  static func main() {
    Program.run(
      Self.self, mistake: UsageHints.mistake,
      explain: { _, message in UsageHints.explain(message, arguments: Array(CommandLine.arguments.dropFirst())) },
      answer: CompletionScript.teachingAliases)
  }
}
