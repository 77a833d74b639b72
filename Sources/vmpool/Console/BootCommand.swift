import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport

struct BootCommand: ServerCommand {
  static let configuration = CommandConfiguration(
    commandName: "boot", abstract: "Boot a kernel of this machine, connected to its console.",
    discussion: """
      Uploads what the server does not have, makes an image and a VM of it, and connects to the VM's console as \
      `vmpool console` does. Both are deleted at the end: when the guest stops, when Ctrl-] is typed, and when a signal \
      ends the program. A second signal ends it without waiting for the server. The words after the kernel are added \
      to the default command line of its kind; those that begin with a dash come after --.
      \(InitramfsArchive.help)

      EXAMPLES
        vmpool boot /boot/vmlinuz-6.1.0-18-amd64 --initramfs root/
        vmpool boot vmlinuz --initramfs initramfs.gz --memory 512 --vcpus 2 quiet
        vmpool boot vmlinuz --initramfs root/ rdinit=/bin/sh
        vmpool boot xen --module 'vmlinuz=vmlinuz console=hvc0' --memory 768 console=com1 com1=115200,8n1 no-real-mode
        vmpool boot unikernel.hvt --block storage=disk.img -- --flag

      EXIT STATUS
        As for `vmpool run`; 0 when Ctrl-] ends it, and 65 when a directory cannot be packed.
      """)

  @OptionGroup var server: ServerOptions
  @OptionGroup var image: ImageOptions

  @OptionGroup var vm: NewVMOptions

  @Flag(help: "Take a guest that resets itself for one that succeeded.")
  var resetOk = false

  @Argument(help: "The kernel, or another image's main part; - for stdin.", completion: .file())
  var kernel: String

  @Argument(help: ArgumentHelp("Words for the guest's command line.", valueName: "word"))
  var words: [String] = []

  func validate() throws {
    if !words.isEmpty, image.commandLine ?? image.append != nil {
      throw ValidationError("Give the command line once: as words, with --append or with --command-line.")
    }
    guard image.inputs([kernel]).count(where: { $0 == "-" }) <= 1 else {
      throw ValidationError("stdin can be read once; give - once.")
    }
  }

  /// The server speaks of the image's command line, which the user may have given otherwise than by --command-line.
  func advice(_ error: APIError) -> String {
    let source = !words.isEmpty ? "the words after the kernel" : image.append != nil ? "--append" : "--command-line"
    return Advice.text(error).replacing("--command-line", with: source)
  }

  func run(_ client: VMPoolClient) throws {
    var options = image
    if !words.isEmpty { options.append = words.joined(separator: " ") }
    let limit = try client.host().limits.maxBlobBytes
    let files = try ImageFiles(ImageFile(kernel, limit: limit), options, limit: limit)
    let guest = BootedGuest(files: files, name: BootedGuest.newName(), client: client)
    client.isAbandoned = { signalCameAgain }
    throw try notingSignals { try boot(guest) }
  }

  private func boot(_ guest: BootedGuest) throws -> ExitCode {
    let result = Result { try follow(guest) }
    guest.delete()
    // A signal ends an upload with an error of the transport, which would not help the user.
    if case .failure = result, let number = arrivedSignal { return ExitCode(128 + number) }
    return try result.get()
  }

  private func follow(_ guest: BootedGuest) throws -> ExitCode {
    try guest.store()
    if let number = arrivedSignal { return ExitCode(128 + number) }
    let vm = try guest.start(self.vm)
    var session = ConsoleSession(client: guest.client, vm: vm)
    defer { session.reportLoss() }
    do {
      guard isTerminal else { return status(try session.run(), vm) }
      StandardError.complain("connected to \(vm); Ctrl-] ends it")
      return status(try inTerminalMode(.raw) { try session.run(leavesOn: ConsoleSession.leavingKey) }, vm)
    } catch APIError.problem(let problem) where problem.type == "/problems/vm-not-found" {
      StandardError.complain(problem.detail)
      return GuestOutcome.exitCode("killed", nil)
    }
  }

  private func status(_ ending: ConsoleSession.Ending, _ vm: String) -> ExitCode {
    switch ending {
    case .stopped(let stop):
      if isTerminal || !["exited", "halted", "powered_off"].contains(stop?.reason) {
        StandardError.complain("\(vm) \(stop.map(VMsCommand.describe) ?? "stopped")")
      }
      return GuestOutcome.exitCode(stop?.reason, stop?.exitCode, isResetOK: resetOk)
    case .interrupted(let number): return ExitCode(128 + number)
    case .outputFailed(let number): return outputFailure(number)
    // Time is never up here: the server keeps the deadline, and stops the VM for it.
    case .left, .timeUp: return .success
    }
  }
}
