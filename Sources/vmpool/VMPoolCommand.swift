import APIModel
import ArgumentParser

/// The command-line client.
@main
struct VMPoolCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "vmpool",
    abstract: "Small virtual machines, kept ready by vmpoold, and kicks for their vCPUs.",
    discussion: """
      EXIT STATUS
        0   done
        1   the server refused; its reason is on stderr
        2   there is no such VM, vCPU, image, pool or lease (any more)
        64  the command line is wrong
        66  a file cannot be read
        69  the server cannot be reached
        74  stdout cannot be written
        75  no VM of the pool was ready in time: try again
        76  what answered does not speak vmpool's API
        124 what --wait-for waits for did not come in time
        128+n  signal n ended the program, such as 130 for Ctrl-C
      `vmpool console` ends with the guest's own exit code when the guest exits, and with 1 when it stops otherwise.
      `vmpool run --help` lists those of a run.

      COMPLETION
        vmpool --generate-completion-script bash|zsh|fish
      """,
    version: Release.version,
    subcommands: [
      HostCommand.self, ImagesCommand.self, PoolsCommand.self, VMsCommand.self, VCPUsCommand.self, KickCommand.self,
      RegistersCommand.self, ConsoleCommand.self, EventsCommand.self, LeaseCommand.self, LeasesCommand.self,
      ExtendCommand.self,
      ReleaseCommand.self, RunCommand.self, MetricsCommand.self, BenchCommand.self,
    ])

  @OptionGroup var server: ServerOptions
}
