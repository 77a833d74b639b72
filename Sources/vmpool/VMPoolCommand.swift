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
        2   there is no such VM, vCPU, image or pool
        64  the command line is wrong
        66  a file cannot be read
        69  the server cannot be reached
        76  what answered does not speak vmpool's API
        130 the console was left by a signal
      `vmpool console` ends with the guest's own exit code when the guest exits, and with 1 when it stops otherwise.

      COMPLETION
        vmpool --generate-completion-script bash|zsh|fish
      """,
    version: "0.1.0",
    subcommands: [
      HostCommand.self, ImagesCommand.self, PoolsCommand.self, VMsCommand.self, VCPUsCommand.self, KickCommand.self,
      RegistersCommand.self, ConsoleCommand.self, EventsCommand.self, MetricsCommand.self, BenchCommand.self,
    ])

  @OptionGroup var server: ServerOptions
}
