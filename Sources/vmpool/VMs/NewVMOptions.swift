import ArgumentParser
import CommandLineSupport

/// How large a new VM is and how long it may run, for commands that create one.
struct NewVMOptions: ParsableArguments {
  @Option(help: "Virtual CPUs; 1 when absent.")
  var vcpus: Int?

  @Option(help: ArgumentHelp("Guest memory in MiB; what the image needs when absent.", valueName: "MiB"))
  var memory: Int?

  @Option(
    help: ArgumentHelp("Stop the VM when it has run for so long, \(DurationArgument.form).", valueName: "duration"))
  var deadline: DurationArgument?
}
