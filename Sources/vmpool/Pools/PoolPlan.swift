import APIClient
import APIModel
import CommandLineSupport
import JSONCodec
import ServerConfiguration

/// A pool's declaration with every default filled in, so that two of them can be compared.
struct PoolSettings: Equatable {
  var image: String
  var vcpus = 1
  /// nil stands for the server's default, which depends on the image.
  var memoryMiB: Int?
  var ready = ReadyRange(1)
  var maxVMs: Int?
  var deadlineMS: Int?
  var refillConcurrency: Int?
  var paused = false
  var probeIntervalMS: Int?
  var readyWhen = ReadyWhen.loaded
  var readyTimeoutMS = PoolRules.standardReadyTimeoutMS
  var onRelease = OnRelease.replace
  var verifyReset = VerifyReset.sampled
  var shared = false

  init(_ pool: PoolDocument) {
    image = pool.image
    vcpus = pool.vcpus
    memoryMiB = pool.memoryMiB
    ready = pool.ready
    maxVMs = pool.maxVMs
    deadlineMS = pool.deadlineMS
    refillConcurrency = pool.refill.concurrency
    paused = pool.paused
    probeIntervalMS = pool.probeIntervalMS
    readyWhen = pool.readyWhen
    readyTimeoutMS = pool.readyTimeoutMS
    onRelease = pool.onRelease
    verifyReset = pool.verifyReset
    shared = pool.shared
  }

  init(_ pool: DeclarePoolDocument) {
    image = pool.image
    vcpus = pool.vcpus ?? vcpus
    memoryMiB = pool.memoryMiB
    ready = pool.ready
    maxVMs = pool.maxVMs
    deadlineMS = pool.deadlineMS
    refillConcurrency = pool.refill?.concurrency
    paused = pool.paused ?? paused
    probeIntervalMS = pool.probeIntervalMS
    readyWhen = pool.readyWhen ?? readyWhen
    readyTimeoutMS = pool.readyTimeoutMS ?? readyTimeoutMS
    onRelease = pool.effectiveOnRelease
    verifyReset = pool.verifyReset ?? verifyReset
    shared = pool.shared ?? shared
  }

  /// What a declaration of the same image and ready point says where it says nothing else.
  private var standard: PoolSettings {
    var standard = PoolSettings(DeclarePoolDocument(image: image, ready: ReadyRange(1), readyWhen: readyWhen))
    standard.readyWhen = .loaded
    return standard
  }

  /// The members that differ from their defaults. `image` and `ready` are always among them.
  var notable: [(name: String, value: String)] {
    zip(members, standard.members).compactMap { own, other in
      own.value == other.value && !["image", "ready"].contains(own.name) ? nil : own
    }
  }

  var document: DeclarePoolDocument {
    DeclarePoolDocument(
      image: image, vcpus: vcpus, memoryMiB: memoryMiB, ready: ready, maxVMs: maxVMs, deadlineMS: deadlineMS,
      refill: refillConcurrency.map { RefillDocument(concurrency: $0) }, paused: paused,
      probeIntervalMS: probeIntervalMS, readyWhen: readyWhen, readyTimeoutMS: readyTimeoutMS,
      // The default goes along with the ready point, also when that is changed later.
      onRelease: onRelease == standard.onRelease ? nil : onRelease, verifyReset: verifyReset,
      shared: shared ? true : nil)
  }

  /// The declaration as a configuration file: what `vmpool pools apply` and the server read.
  func yaml(name: String) -> String {
    let standard = self.standard.members.filter {
      ["paused", "ready_when", "ready_timeout_ms", "on_release", "verify_reset", "shared"].contains($0.name)
    }
    let isLeftOut = { (member: (name: String, value: String)) in
      ["none", "default"].contains(member.value) || standard.contains { $0 == member }
    }
    let lines = members.filter { !isLeftOut($0) }.map { member in
      // `refill` is an object with one member.
      member.name == "refill.concurrency"
        ? "    refill: {concurrency: \(member.value)}" : "    \(member.name): \(member.value)"
    }
    return (["pools:", "  \(name):"] + lines).joined(separator: "\n")
  }

  /// Each member as a configuration file writes it.
  var members: [(name: String, value: String)] {
    func orNone(_ number: Int?) -> String { number.map { "\($0)" } ?? "none" }
    return [
      ("image", image), ("vcpus", "\(vcpus)"), ("memory_mib", memoryMiB.map { "\($0)" } ?? "default"),
      ("ready", ready.min == ready.max ? "\(ready.min)" : "{min: \(ready.min), max: \(ready.max)}"),
      ("max_vms", orNone(maxVMs)), ("deadline_ms", orNone(deadlineMS)),
      ("refill.concurrency", orNone(refillConcurrency)), ("paused", "\(paused)"),
      ("probe_interval_ms", orNone(probeIntervalMS)), ("ready_when", readyWhen.yaml),
      ("ready_timeout_ms", "\(readyTimeoutMS)"), ("on_release", onRelease.rawValue),
      ("verify_reset", verifyReset.rawValue), ("shared", "\(shared)"),
    ]
  }
}

extension ReadyWhen {
  /// The value as a configuration file writes it.
  fileprivate var yaml: String {
    switch self {
    case .loaded: "loaded"
    case .started: "started"
    // Every JSON string is a YAML string.
    case .console(let text):
      "{console: " + ((try? JSON.encode(text)).map { String(decoding: $0, as: UTF8.self) } ?? "") + "}"
    case .afterMS(let time): "{after_ms: \(time)}"
    }
  }
}

/// The steps that make a server's pools those of a file.
struct PoolPlan {
  /// A pool as the server has it, and the ETag of its declaration.
  typealias Present = (pool: PoolDocument, tag: String?)

  enum Action: String, Encodable {
    case create, change, keep, delete
    /// The server's own configuration file declares the pool, and declares it differently.
    case refuse
  }

  /// A member that changes; `from` is nil where the pool is new.
  struct Change: Encodable, Equatable {
    var member: String
    var from: String?
    var to: String
  }

  struct Step {
    var name: String
    var action: Action
    var changes: [Change] = []
    /// The declaration to send.
    var settings: PoolSettings?
    var condition = VMPoolClient.PoolCondition.none
    /// Leases that a deletion waits for.
    var leased = 0
  }

  /// In the order of the file; then the deletions, by name.
  let steps: [Step]

  /// `present` are the server's pools. `prune` deletes those of them that neither the file nor the server's own declares.
  init(_ wanted: [PoolDeclaration], present: [Present], prune: Bool) {
    // A pool that is being deleted counts as gone. Where it is still in the way, the server will say so.
    let present = present.filter { !$0.pool.status.draining }
    let byName = Dictionary(present.map { ($0.pool.name, $0) }) { first, _ in first }
    let names = Set(wanted.map(\.name))
    let surplus = present.filter { prune && $0.pool.source == "api" && !names.contains($0.pool.name) }
    steps =
      wanted.map { Self.step($0.name, PoolSettings($0.document), byName[$0.name]) }
      + surplus.sorted { $0.pool.name < $1.pool.name }.map {
        Step(
          name: $0.pool.name, action: .delete, condition: Self.condition($0.tag), leased: $0.pool.status.leased)
      }
  }

  private static func step(_ name: String, _ wanted: PoolSettings, _ present: Present?) -> Step {
    guard let present else {
      let changes = wanted.notable.map { Change(member: $0.name, from: nil, to: $0.value) }
      return Step(name: name, action: .create, changes: changes, settings: wanted, condition: .absent)
    }
    let changes = zip(PoolSettings(present.pool).members, wanted.members).compactMap { old, new in
      // A file without `memory_mib` leaves the memory as it is.
      old.value == new.value || new.value == "default" ? nil : Change(member: new.name, from: old.value, to: new.value)
    }
    if changes.isEmpty { return Step(name: name, action: .keep) }
    return Step(
      name: name, action: present.pool.source == "file" ? .refuse : .change, changes: changes, settings: wanted,
      condition: condition(present.tag))
  }

  private static func condition(_ tag: String?) -> VMPoolClient.PoolCondition {
    tag.map { .unchanged(since: $0) } ?? .none
  }

  /// Whether every pool is as the file says.
  var isEmpty: Bool { steps.allSatisfy { $0.action == .keep } }

  /// A line for each pool, and one for each member that changes.
  var text: String {
    steps.flatMap { [$0.heading] + $0.changes.map(\.line) }.map(printable).joined(separator: "\n")
  }
}

extension PoolPlan.Step: Encodable {
  fileprivate var heading: String {
    switch action {
    case .create: "+ \(name): new"
    case .change: "~ \(name): changed"
    case .keep: "= \(name): unchanged"
    case .delete: "- \(name): deleted" + (leased > 0 ? ", when its leases have ended: there are \(leased)" : "")
    case .refuse: "! \(name): declared in the server's configuration file; change it there"
    }
  }

  func encode(to encoder: any Encoder) throws {
    var members = encoder.container(keyedBy: CodingKeys.self)
    try members.encode(name, forKey: .name)
    try members.encode(action, forKey: .action)
    try members.encode(changes, forKey: .changes)
  }

  private enum CodingKeys: CodingKey { case name, action, changes }
}

extension PoolPlan.Change {
  fileprivate var line: String { "    \(member): " + (from.map { "\($0) → " } ?? "") + to }
}
