import APIClient
import APIModel
import ArgumentParser
import CommandLineSupport

extension PoolsCommand {
  struct Set: DocumentCommand {
    static let configuration = CommandConfiguration(
      commandName: "set", abstract: "Declare a pool, or declare it anew.",
      discussion: """
        What is not given has its default; `vmpool pools patch` leaves it as it is. With --file the declaration is a \
        JSON document, such as `vmpool pools show --json` prints: what only the server sets in it is passed over.
        """)

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions

    @Argument(
      help: "The pool's name: a to z, 0 to 9 and -, beginning with a letter.", completion: Completions.pools)
    var name: String

    @Option(help: "The image of its VMs.", completion: Completions.images)
    var image: String?

    @Option(help: ReadyArgument.help)
    var ready: ReadyArgument?

    @Option(
      name: [.short, .customLong("file")],
      help: ArgumentHelp("A JSON document with the declaration, or - for stdin.", valueName: "file"),
      completion: .file(extensions: ["json"]))
    var file: String?

    @OptionGroup var options: PoolOptions

    func validate() throws {
      if file == nil {
        guard image != nil, ready != nil else { throw ValidationError("Give --image and --ready, or --file.") }
      } else if image != nil || ready != nil || !options.isEmpty {
        throw ValidationError("--file gives the whole declaration; leave the other options out.")
      }
      if file != nil { return }
      try options.document(image: image ?? "", ready: ready?.range ?? ReadyRange(1)).checkOptions()
    }

    var mentioned: [Mention] { image.map { [.image($0)] } ?? [] }

    func run(_ client: VMPoolClient) throws {
      let pool = try client.putPool(name, declaration: declaration())
      Advice.report(pool.warnings)
      try output.show(pool, quiet: false, table)
    }

    private func declaration() throws -> DeclarePoolDocument {
      if let file { return try PoolFile.declaration(in: file, of: name) }
      return options.document(image: image ?? "", ready: ready?.range ?? ReadyRange(1))
    }
  }

  struct Patch: DocumentCommand {
    static let configuration = CommandConfiguration(
      commandName: "patch", abstract: "Change some of a pool's declaration, and leave the rest as it is.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "The pool's name.", completion: Completions.pools)
    var name: String

    @Option(help: "The image of its VMs.", completion: Completions.images)
    var image: String?

    @Option(help: ReadyArgument.help)
    var ready: ReadyArgument?

    @OptionGroup var options: PoolOptions

    func validate() throws {
      if changes == PoolChanges() { throw ValidationError("Say what is to change.") }
      // Members that stay as they are get values that conflict with nothing.
      var document = options.document(image: image ?? "image", ready: ready?.range ?? ReadyRange(0))
      document.readyWhen = document.readyWhen ?? .started
      try document.checkOptions()
    }

    var mentioned: [Mention] { [.pool(name)] + (image.map { [.image($0)] } ?? []) }

    func run(_ client: VMPoolClient) throws {
      let pool = try client.patchPool(name, changes: changes)
      Advice.report(pool.warnings)
      try output.show(pool, quiet: false, table)
    }

    var changes: PoolChanges {
      var changes = PoolChanges()
      changes.image = image
      changes.ready = ready?.range
      changes.vcpus = options.vcpus
      changes.memoryMiB = options.memory
      changes.maxVMs = options.maxVms?.newValue { $0 }
      changes.deadlineMS = options.deadline?.newValue(\.milliseconds)
      changes.refillConcurrency = options.refillConcurrency?.newValue { $0 }
      changes.paused = options.paused
      changes.probeIntervalMS = options.probeInterval?.newValue(\.milliseconds)
      changes.readyWhen = options.readyWhen?.point
      changes.readyTimeoutMS = options.readyTimeout?.milliseconds
      changes.onRelease = options.onRelease
      changes.verifyReset = options.verifyReset
      changes.shared = options.shared
      return changes
    }
  }
}

/// The members that a declaration can leave out.
struct PoolOptions: ParsableArguments {
  @Option(help: "Virtual CPUs of each VM; 1 by default.")
  var vcpus: Int?

  @Option(help: ArgumentHelp("Guest memory of each VM, in MiB; by default what the image needs.", valueName: "MiB"))
  var memory: Int?

  @Option(help: ArgumentHelp("The most VMs at the same time, leased ones among them; or none.", valueName: "count"))
  var maxVms: OrNone<Int>?

  @Option(
    help: ArgumentHelp(
      "Stop a VM when it has run for so long, \(DurationArgument.form); or none.", valueName: "duration"))
  var deadline: OrNone<DurationArgument>?

  @Option(help: ArgumentHelp("The most VMs made for it at the same time; or none.", valueName: "count"))
  var refillConcurrency: OrNone<Int>?

  @Flag(inversion: .prefixedNo, help: "Leave the pool as it is: make, replace and take away nothing.")
  var paused: Bool?

  @Option(
    help: ArgumentHelp(
      "Kick one of its running VMs this often, to see how long that takes; or none.", valueName: "duration"))
  var probeInterval: OrNone<DurationArgument>?

  @Option(help: ReadyWhenArgument.help)
  var readyWhen: ReadyWhenArgument?

  @Option(
    help: ArgumentHelp(
      "How long the guest of the VM that is cloned may take to print the text, \(DurationArgument.form).",
      valueName: "duration"))
  var readyTimeout: DurationArgument?

  @Option(
    help: ArgumentHelp(
      "What becomes of a VM whose lease has ended: reset (the default where VMs are clones) or replace.",
      valueName: "what"))
  var onRelease: OnRelease?

  @Option(
    help: ArgumentHelp(
      "Which VMs that were reset are compared with what they were cloned from: off, sampled (the default) or full.",
      valueName: "which"))
  var verifyReset: VerifyReset?

  @Flag(inversion: .prefixedNo, help: "Let every tenant lease from it; for pools of the default tenant.")
  var shared: Bool?

  /// The declaration that the options make.
  func document(image: String, ready: ReadyRange) -> DeclarePoolDocument {
    DeclarePoolDocument(
      image: image, vcpus: vcpus, memoryMiB: memory, ready: ready, maxVMs: maxVms?.value,
      deadlineMS: deadline?.value?.milliseconds,
      refill: refillConcurrency?.value.map { RefillDocument(concurrency: $0) }, paused: paused,
      probeIntervalMS: probeInterval?.value?.milliseconds, readyWhen: readyWhen?.point,
      readyTimeoutMS: readyTimeout?.milliseconds, onRelease: onRelease, verifyReset: verifyReset,
      shared: shared)
  }

  /// Whether the command line gives none of the options.
  var isEmpty: Bool {
    vcpus == nil && memory == nil && maxVms == nil && deadline == nil && refillConcurrency == nil && paused == nil
      && probeInterval == nil && readyWhen == nil && readyTimeout == nil && onRelease == nil && verifyReset == nil
      && shared == nil
  }
}

extension DeclarePoolDocument {
  /// Refuses a declaration that every server would refuse.
  fileprivate func checkOptions() throws {
    if let mistake = mistakes.first { throw ValidationError(Advice.text(mistake)) }
  }
}

extension OnRelease: ExpressibleByArgument {}
extension VerifyReset: ExpressibleByArgument {}

/// A number of VMs, or two: `2` or `2:8`.
struct ReadyArgument: ExpressibleByArgument, Equatable {
  static let help = ArgumentHelp("How many VMs to keep ready: one number, or two.", valueName: "count or min:max")

  var range: ReadyRange

  init?(argument: String) {
    let parts = argument.split(separator: ":", omittingEmptySubsequences: false)
    let numbers = parts.compactMap { Int($0) }
    guard 1...2 ~= parts.count, numbers.count == parts.count else { return nil }
    range = ReadyRange(min: numbers[0], max: numbers[numbers.count - 1])
  }
}

/// When VMs are ready: `loaded`, `started`, `console:TEXT` or `after:DURATION`.
struct ReadyWhenArgument: ExpressibleByArgument, Equatable {
  static let help = ArgumentHelp(
    """
    When its VMs are ready: loaded, started, console:TEXT (the guest has printed it) or after:DURATION. All but \
    loaded make them clones of one that has booted.
    """,
    valueName: "point")

  var point: ReadyWhen

  init?(argument: String) {
    if argument == "loaded" {
      point = .loaded
    } else if argument == "started" {
      point = .started
    } else if argument.hasPrefix("console:") {
      point = .console(String(argument.dropFirst(8)))
    } else if argument.hasPrefix("after:"), let time = DurationArgument(argument: String(argument.dropFirst(6))) {
      point = .afterMS(time.milliseconds)
    } else {
      return nil
    }
  }
}

/// A value, or the word `none`.
enum OrNone<Value: ExpressibleByArgument & Equatable & Sendable>: ExpressibleByArgument, Equatable {
  case none
  case some(Value)

  init?(argument: String) {
    if argument == "none" {
      self = .none
    } else if let value = Value(argument: argument) {
      self = .some(value)
    } else {
      return nil
    }
  }

  var value: Value? { if case .some(let value) = self { value } else { nil } }

  /// The change that a patch makes.
  func newValue(_ number: (Value) -> Int) -> PoolChanges.NewValue<Int> {
    value.map { .value(number($0)) } ?? .standard
  }
}
