import APIModel
import ArgumentParser
import Foundation
import HTTPServer
import LinuxSupport
import Logging
import ManagementAPI
import StateStore
import SystemPackage
import VCPURuntime

/// The command line.
@main
struct Vmpoold: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "vmpoold",
    abstract: "Keeps pools of small virtual machines ready on a Linux KVM host, and hands them out over REST.",
    discussion: """
      Without options it listens on 127.0.0.1:8080 and keeps one pool, demo, of two ready VMs. SIGTERM, SIGINT and \
      SIGQUIT drain it: it takes no new work, stops every VM and exits 0; a second signal ends it at once.

      Exit status: 0 after a drain, 1 when the drain took too long, 128 and the signal's number after a second one, \
      64 for bad usage, 65 or 66 for a configuration file that is wrong or cannot be \
      read, 66 also for a certificate or a key that cannot be used, 69 where KVM cannot be used, 71 when an address cannot be \
      listened on, 73 when the state directory cannot be used, 78 for an address of a network where no client needs a key.
      """,
    version: Release.version,
    subcommands: [CheckConfig.self, CreateKey.self])

  @Option(
    help: "Listen there: HOST:PORT, [IPv6]:PORT or unix:/PATH. May be repeated. (default: 127.0.0.1:8080)",
    transform: { try ListenAddress(parsing: $0) })
  var listen: [ListenAddress] = []

  @Flag(
    help: """
      Listen on addresses that other machines can reach, also without TLS and without a key on record. Everyone who reaches \
      such an address can then read what goes over it, keys included, and where no key was made may do everything.
      """)
  var insecureListen = false

  @Option(
    help: """
      Speak TLS 1.2 and 1.3 on every TCP address, with the certificate in this PEM file: the server's own first, then those \
      behind it. SIGHUP reads it again, for new connections.
      """,
    completion: .file(extensions: ["pem", "crt"]))
  var tlsCert: String?

  @Option(
    help: "The certificate's key: a PEM file without a passphrase. SIGHUP reads it again.",
    completion: .file(extensions: ["pem", "key"]))
  var tlsKey: String?

  @Option(
    name: .customLong("tls-client-ca"),
    help: """
      Ask clients for certificates, which must lead to one in this PEM file; SIGHUP reads it again. A client without one is \
      served as if it had not been asked. Revocation lists are not read.
      """,
    completion: .file(extensions: ["pem", "crt"]))
  var tlsClientCA: String?

  @Option(help: "Answer to this host name, too. May be repeated.")
  var allowHost: [String] = []

  @Option(
    help: "A YAML file that declares pools; see check-config. SIGHUP reads it again.",
    completion: .file(extensions: ["yaml", "yml"]))
  var config: String?

  @OptionGroup var stateDirectory: StateDirectoryOptions

  @Option(
    help: """
      When a change of the state is forced to the disk: normal (within about a second; a killed server loses nothing, \
      a power cut the last changes) or full (before it is answered).
      """)
  var stateSync = StateDatabase.Sync.normal

  @Option(help: "How the log is written: text or json.")
  var logFormat = LogFormat.text

  @Option(help: "The least that is logged: trace, debug, info, notice, warning, error or critical.")
  var logLevel = Logger.Level.info

  @Option(name: .customLong("max-vms"), help: "The most VMs at the same time, those of pools included.")
  var maxVMs = 4096

  @Option(
    name: .customLong("max-memory-mib"),
    help: """
      The most guest memory of all VMs together, in MiB, with what they write to disks and 128 KiB for each console. \
      (default: four fifths of what the control group or the host has)
      """)
  var maxMemoryMiB: Int?

  @Option(
    name: .customLong("max-image-mib"), help: "The most bytes of an image or another blob that is uploaded, in MiB.")
  var maxImageMiB = 1024

  @Option(name: .customLong("max-blobs-mib"), help: "The most bytes of all blobs together, in MiB.")
  var maxBlobsMiB = 16_384

  @Option(
    help: """
      The most connections of clients. Past them idle ones are closed, and some more are kept in reserve for probes, \
      metrics and deletions.
      """)
  var maxConnections = 1024

  @Option(help: "The most requests that wait at the same time, streams included.")
  var maxWaiting = 512

  @Option(help: "The most VMs made for pools at the same time.")
  var refillConcurrency = 1

  @Option(help: "How vCPUs are kicked: auto, immediate_exit or signal_mask.")
  var kickMechanism = MechanismChoice.auto

  @Option(help: ArgumentHelp("Seconds between comments on quiet event streams.", valueName: "seconds"))
  var eventHeartbeat = 15

  @Flag(help: "Start without the pool demo.")
  var noDemoPool = false

  var stateDir: String? { stateDirectory.stateDir }

  func validate() throws {
    guard (1...100_000).contains(maxVMs) else { throw ValidationError("--max-vms must be 1 to 100000.") }
    guard (1...64).contains(refillConcurrency) else {
      throw ValidationError("--refill-concurrency must be 1 to 64.")
    }
    guard (1...1_048_576).contains(maxImageMiB) else { throw ValidationError("--max-image-mib must be 1 to 1048576.") }
    guard (1...1_073_741_824).contains(maxBlobsMiB) else {
      throw ValidationError("--max-blobs-mib must be 1 to 1073741824.")
    }
    guard (1...100_000).contains(maxConnections) else {
      throw ValidationError("--max-connections must be 1 to 100000.")
    }
    guard (1...100_000).contains(maxWaiting) else { throw ValidationError("--max-waiting must be 1 to 100000.") }
    guard maxMemoryMiB ?? 1 >= 1 else { throw ValidationError("--max-memory-mib must be at least 1.") }
    guard (tlsCert == nil) == (tlsKey == nil) else {
      throw ValidationError("--tls-cert and --tls-key belong together; give both.")
    }
    guard tlsClientCA == nil || tlsCert != nil else {
      throw ValidationError("--tls-client-ca needs --tls-cert and --tls-key.")
    }
    guard (1...3600).contains(eventHeartbeat) else { throw ValidationError("--event-heartbeat must be 1 to 3600.") }
    guard allowHost.allSatisfy({ !$0.isEmpty && !$0.contains("/") }) else {
      throw ValidationError("--allow-host wants a name or an address, without a port.")
    }
  }

  func run() throws {
    do throws(StartupError) {
      try Daemon(self).run()
    } catch {
      for message in error.messages { Self.say(message, logFormat) }
      throw ExitCode(error.exitStatus)
    }
  }

  /// Runs what the command line asks for. What is wrong with the command line is said as the log would say it.
  static func main() {
    do throws(Errno) {
      try StandardDescriptors.openClosed()
    } catch {
      // Nothing can be said: what is written now could land in any file.
      _exit(71)
    }
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch {
      let status = exitCode(for: error)
      let message = message(for: error)
      guard wantsJSON(CommandLine.arguments), !status.isSuccess, !message.isEmpty else { exit(withError: error) }
      say(message, .json)
      exit(withError: status)
    }
  }

  /// Whether these words ask for a log in JSON. Read apart from the parser, which has failed.
  static func wantsJSON(_ words: [String]) -> Bool {
    words.contains("--log-format=json") || zip(words, words.dropFirst()).contains { $0 == ("--log-format", "json") }
  }

  /// Says why the server does not start: as a line for people, or as an entry of the log.
  private static func say(_ message: String, _ format: LogFormat) {
    switch format {
    case .text: writeLine(to: 2, "vmpoold: " + message)
    case .json: writeBytes(to: 2, LogLine(.json, Logger.Level.critical.rawValue, message).ended())
    }
  }
}

/// Where the state is, for the server and for `create-key`. As a group, since the parser takes the server's own options from its
/// subcommands, and gives groups to both.
struct StateDirectoryOptions: ParsableArguments {
  @Option(
    help: """
      Where the server keeps its state, which then outlives it: pools declared over the API, leases, idempotency keys, \
      the audit log, images. Made if it does not exist. Without it, state is kept in \
      memory, and images in a directory of their own below $TMPDIR or /var/tmp, removed at the end.
      """)
  var stateDir: String?
}

/// What `--kick-mechanism` takes.
enum MechanismChoice: String, ExpressibleByArgument, CaseIterable {
  case auto
  case immediateExit = "immediate_exit"
  case signalMask = "signal_mask"
}

extension LogFormat: ExpressibleByArgument {}
extension StateDatabase.Sync: ExpressibleByArgument {}
extension Logger.Level: @retroactive ExpressibleByArgument {}

/// Why the server does not start, with the exit status that says so (sysexits.h).
struct StartupError: Error {
  let exitStatus: Int32
  /// A line each: what happened, and what to do next.
  let messages: [String]

  static func usage(_ message: String) -> StartupError { StartupError(exitStatus: 64, messages: [message]) }
  static func unavailable(_ message: String) -> StartupError { StartupError(exitStatus: 69, messages: [message]) }
  static func cannotListen(_ message: String) -> StartupError { StartupError(exitStatus: 71, messages: [message]) }
  static func configuration(_ message: String) -> StartupError { StartupError(exitStatus: 78, messages: [message]) }
  static func stateDirectory(_ message: String) -> StartupError { StartupError(exitStatus: 73, messages: [message]) }

  static func noThread(_ error: Errno) -> StartupError {
    StartupError(
      exitStatus: 71,
      messages: ["no thread could be started: \(error); raise the limit on tasks (TasksMax=, pids.max, ulimit -u)"])
  }
}
