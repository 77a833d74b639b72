import APIClient
import APIModel
import ArgumentParser

extension PoolsCommand {
  struct Set: DocumentCommand {
    static let configuration = CommandConfiguration(
      abstract: "Declare a pool, or declare it anew.",
      discussion: "What is not given has its default; `vmpool pools patch` leaves it as it is.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "The pool's name: a to z, 0 to 9 and -, beginning with a letter.")
    var name: String

    @Option(help: "The image of its VMs.")
    var image: String

    @Option(help: ReadyArgument.help)
    var ready: ReadyArgument

    @OptionGroup var options: PoolOptions

    func run(_ client: VMPoolClient) throws {
      let declaration = DeclarePoolDocument(
        image: image, vcpus: options.vcpus, memoryMiB: options.memory, ready: ready.range,
        maxVMs: options.maxVms?.value, deadlineMS: options.deadline?.value?.milliseconds,
        refill: options.refillConcurrency?.value.map { RefillDocument(concurrency: $0) }, paused: options.paused,
        probeIntervalMS: options.probeInterval?.value?.milliseconds)
      try show(client.putPool(name, declaration)) { table([$0]).text }
    }
  }

  struct Patch: DocumentCommand {
    static let configuration = CommandConfiguration(
      abstract: "Change some of a pool's declaration, and leave the rest as it is.")

    @OptionGroup var server: ServerOptions
    @OptionGroup var output: OutputOptions

    @Argument(help: "The pool's name.")
    var name: String

    @Option(help: "The image of its VMs.")
    var image: String?

    @Option(help: ReadyArgument.help)
    var ready: ReadyArgument?

    @OptionGroup var options: PoolOptions

    func validate() throws {
      if changes == PoolChanges() { throw ValidationError("Say what is to change.") }
    }

    func run(_ client: VMPoolClient) throws { try show(client.patchPool(name, changes)) { table([$0]).text } }

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
      return changes
    }
  }
}

/// What a declaration can leave out.
struct PoolOptions: ParsableArguments {
  @Option(help: "Virtual CPUs of each VM; 1 by default.")
  var vcpus: Int?

  @Option(help: ArgumentHelp("Guest memory of each VM, in MiB; 2 by default.", valueName: "MiB"))
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
}

/// A number of VMs, or two: `2` or `2:8`.
struct ReadyArgument: ExpressibleByArgument, Equatable {
  static let help = ArgumentHelp("How many VMs to keep ready: one number, or two.", valueName: "count or min:max")

  var range: ReadyRange

  init?(argument: String) {
    let parts = argument.split(separator: ":", omittingEmptySubsequences: false)
    let numbers = parts.compactMap { Int($0) }
    guard 1...2 ~= parts.count, numbers.count == parts.count else { return nil }
    range = ReadyRange(min: numbers[0], max: numbers[numbers.count - 1])
    guard range.min >= 0, range.min <= range.max else { return nil }
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

  /// What a patch says.
  func newValue(_ number: (Value) -> Int) -> PoolChanges.NewValue<Int> {
    value.map { .value(number($0)) } ?? .standard
  }
}
