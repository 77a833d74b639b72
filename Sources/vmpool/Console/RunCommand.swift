import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport
import FoundationEssentials

struct RunCommand: DocumentCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Run one of a pool's VMs to its end, and print what it writes.",
    discussion: """
      Leases a VM, gives it the input, starts it, prints its console as it comes, and gives it back at the end, at the \
      deadline, or when a signal ends the program. With --json or --format it is one request, whose answer is printed \
      when the guest has ended. Durations are \(DurationArgument.form).

      EXIT STATUS
        The guest's own exit code when it exits, and 0 when it halts or powers off; else
        123    the guest reset itself, as a kernel does after a panic; 0 with --reset-ok
        124    the deadline was reached
        125    the guest crashed
        137    the VM was stopped, deleted or taken back
        75     no VM of the pool was ready in time
        74     stdout cannot be written
        128+n  signal n ended the program
      and what `vmpool --help` lists. --json says which of a guest's own 124 and the deadline's it was.
      """)

  @OptionGroup var server: ServerOptions
  @OptionGroup var output: OutputOptions

  @Argument(help: "The pool's name.", completion: Completions.pools)
  var pool: String

  @Option(
    help: ArgumentHelp("Input for the guest's console: a file, or - for stdin.", valueName: "file"),
    completion: .file())
  var input: String?

  @Option(help: ArgumentHelp("How long the guest may run.", valueName: "duration"))
  var deadline = DurationArgument.seconds(10)

  @Option(help: ArgumentHelp("How long to wait for a VM when none is ready; 0 when absent.", valueName: "duration"))
  var wait: DurationArgument?

  @Flag(help: "Take a guest that resets itself for one that succeeded.")
  var resetOk = false

  @OptionGroup var arguments: GuestArgumentOptions

  /// How many milliseconds the lease lasts beyond the deadline. In that time the program stops the guest and reads its output.
  private static let grace = 60_000
  private static let longestLease = 86_400_000

  var mentioned: [Mention] { [.pool(pool)] }

  func run(_ client: VMPoolClient) throws {
    let isOneRequest = output.isJSON || output.format != nil && output.format != .table
    throw isOneRequest ? try runAtOnce(client) : try follow(client)
  }

  /// The exit status for how the guest ended.
  func exitCode(_ reason: String?, _ code: Int?) -> ExitCode {
    GuestOutcome.exitCode(reason, code, isResetOK: resetOk)
  }

  private func commandLine(_ client: VMPoolClient) throws -> String? {
    try arguments.commandLine(ofImage: client.pool(pool).image, client)
  }

  private func runAtOnce(_ client: VMPoolClient) throws -> ExitCode {
    let bytes = try input.map { path throws(ExitCode) in Data(try contents(of: path)).base64EncodedString() }
    let document = try client.run(
      in: pool,
      RunRequestDocument(
        inputBase64: bytes, deadlineMS: deadline.milliseconds, waitMS: wait?.milliseconds,
        commandLine: try commandLine(client), environment: arguments.environment))
    try show(document) { _ in "" }
    return exitCode(document.outcome, document.exitCode)
  }

  private func follow(_ client: VMPoolClient) throws -> ExitCode {
    let input: ConsoleSession.Input =
      switch self.input {
      case nil: .bytes([])
      case "-": .standardInput
      case let path?: .bytes(try contents(of: path))
      }
    // Until the lease is there, a signal ends the program at once: the server sees the connection close.
    let lease = try client.lease(
      from: pool,
      LeaseRequestDocument(
        ttlMS: min(deadline.milliseconds + Self.grace, Self.longestLease), waitMS: wait?.milliseconds, start: false,
        labels: ["for": "run"], commandLine: try commandLine(client), environment: arguments.environment))
    return try notingSignals {
      let result = Result { try follow(lease, input, client) }
      release(lease, client)
      return try result.get()
    }
  }

  private func follow(
    _ lease: LeaseDocument, _ input: ConsoleSession.Input, _ client: VMPoolClient
  ) throws -> ExitCode {
    var session = ConsoleSession(client: client, vm: lease.vm, fence: lease.fence, input: input)
    defer { session.reportLoss() }
    do {
      _ = try session.sendInput()
      let end = ContinuousClock.now + deadline.duration
      _ = try client.startVM(lease.vm, fence: lease.fence)
      return status(try session.run(until: end))
    } catch APIError.problem(let problem)
      where ["/problems/stale-fence", "/problems/vm-not-found"].contains(problem.type)
    {
      StandardError.complain(problem.detail)
      return exitCode("killed", nil)
    }
  }

  private func status(_ ending: ConsoleSession.Ending) -> ExitCode {
    switch ending {
    case .stopped(let stop):
      if !["exited", "halted", "powered_off"].contains(stop?.reason) {
        StandardError.complain("the guest ended: \(stop.map(VMsCommand.describe) ?? "stopped")")
      }
      return exitCode(stop?.reason, stop?.exitCode)
    case .timeUp:
      StandardError.complain("the guest was stopped after \(deadline)")
      return exitCode("deadline", nil)
    case .interrupted(let number): return ExitCode(128 + number)
    case .outputFailed(let number): return outputFailure(number)
    // A run has no key that ends it.
    case .left: return .success
    }
  }

  private func release(_ lease: LeaseDocument, _ client: VMPoolClient) {
    do {
      try client.releaseLease(lease.lease)
    } catch APIError.problem(let problem) where problem.status == 410 {
      // The lease has ended before: with its VM, or by the server.
    } catch {
      StandardError.complain("\(error) \(lease.vm) goes back when its lease expires, at \(lease.expiresAt).")
    }
  }
}
