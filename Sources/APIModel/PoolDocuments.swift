/// A pool: what was declared, and how it stands.
public struct PoolDocument: Codable, Sendable, Equatable {
  /// What `pool` calls it elsewhere.
  public var name: String
  /// The name of its VMs' image.
  public var image: String
  /// Virtual CPUs of each VM.
  public var vcpus: Int
  /// Guest memory of each VM, in MiB.
  public var memoryMiB: Int
  /// How many VMs in state `ready` the server keeps.
  public var ready: ReadyRange
  /// The most VMs it may have at the same time, leased ones among them; null for no limit but the server's.
  public var maxVMs: Int?
  /// Its VMs stop (as `deadline`) when they have been started for so long; null for never.
  public var deadlineMS: Int?
  /// How its VMs are made.
  public var refill: RefillDocument
  /// Whether it is left as it is: nothing made, replaced or taken away.
  public var paused: Bool
  /// How often one of its running VMs is kicked to see how long that takes; null for never.
  public var probeIntervalMS: Int?
  /// How far its VMs' guests have come when they are leased.
  public var readyWhen: ReadyWhen
  /// How long the guest of the VM that the others are cloned from may take to print the text of `ready_when`.
  public var readyTimeoutMS: Int
  /// What becomes of a VM whose lease has ended.
  public var onRelease: OnRelease
  /// Which VMs that were reset are compared with the template.
  public var verifyReset: VerifyReset
  /// Whether every tenant may lease its VMs.
  public var shared: Bool
  /// Whose it is; nil from a server that knows no tenants.
  public var tenant: String?
  /// Who declared it: `api` or `file`.
  public var source: String
  /// Why its guests will not do here what they are made for, each in a sentence or two.
  public var warnings: [String]
  /// How it stands.
  public var status: PoolStatusDocument

  /// A pool.
  public init(
    name: String, image: String, vcpus: Int, memoryMiB: Int, ready: ReadyRange, maxVMs: Int?, deadlineMS: Int?,
    refill: RefillDocument, paused: Bool, probeIntervalMS: Int?, readyWhen: ReadyWhen = .loaded,
    readyTimeoutMS: Int = PoolRules.standardReadyTimeoutMS, onRelease: OnRelease = .replace,
    verifyReset: VerifyReset = .sampled, shared: Bool = false, tenant: String? = nil, source: String,
    warnings: [String] = [], status: PoolStatusDocument
  ) {
    self.name = name
    self.image = image
    self.vcpus = vcpus
    self.memoryMiB = memoryMiB
    self.ready = ready
    self.maxVMs = maxVMs
    self.deadlineMS = deadlineMS
    self.refill = refill
    self.paused = paused
    self.probeIntervalMS = probeIntervalMS
    self.readyWhen = readyWhen
    self.readyTimeoutMS = readyTimeoutMS
    self.onRelease = onRelease
    self.verifyReset = verifyReset
    self.shared = shared
    self.tenant = tenant
    self.source = source
    self.warnings = warnings
    self.status = status
  }

  /// The members that only the server sets. A client that sends them back means nothing by them.
  public static let readOnlyMembers: Set<String> = ["name", "tenant", "source", "warnings", "status"]

  enum CodingKeys: String, CodingKey {
    case name, image, vcpus
    case memoryMiB = "memory_mib"
    case ready
    case maxVMs = "max_vms"
    case deadlineMS = "deadline_ms"
    case refill, paused
    case probeIntervalMS = "probe_interval_ms"
    case readyWhen = "ready_when"
    case readyTimeoutMS = "ready_timeout_ms"
    case onRelease = "on_release"
    case verifyReset = "verify_reset"
    case shared, tenant, source, warnings, status
  }
}

/// How many VMs a pool keeps ready: `{"min", "max"}`, or one number for both.
public struct ReadyRange: Codable, Sendable, Equatable {
  /// Below it the pool comes before others.
  public var min: Int
  /// Up to it the pool is filled.
  public var max: Int

  /// From `min` to `max`.
  public init(min: Int, max: Int) {
    self.min = min
    self.max = max
  }

  /// Exactly `count`.
  public init(_ count: Int) { self.init(min: count, max: count) }

  /// Reads an object, or a number.
  public init(from decoder: any Decoder) throws {
    guard decoder.isObject else {
      self.init(try decoder.singleValueContainer().decode(Int.self))
      return
    }
    let members = try decoder.container(keyedBy: CodingKeys.self)
    self.init(min: try members.decode(Int.self, forKey: .min), max: try members.decode(Int.self, forKey: .max))
  }

  enum CodingKeys: String, CodingKey { case min, max }
}

extension Decoder {
  /// Whether the value is an object, with any members. Alternatives are chosen by that, so that the error of an unknown
  /// member is not mistaken for another type.
  var isObject: Bool { (try? singleValueContainer().decode([String: Ignored].self)) != nil }
}

/// Any value at all.
private struct Ignored: Decodable {
  init(from decoder: any Decoder) {}
}

/// How a pool's VMs are made.
public struct RefillDocument: Codable, Sendable, Equatable {
  /// The most VMs made for the pool at the same time; null for no limit but the server's.
  public var concurrency: Int?

  /// At most `concurrency` at the same time.
  public init(concurrency: Int? = nil) { self.concurrency = concurrency }
}

/// How a pool stands.
public struct PoolStatusDocument: Codable, Sendable, Equatable {
  /// VMs ready to be leased.
  public var ready: Int
  /// Those of them that are of an older declaration, and will be replaced.
  public var outdated: Int
  /// VMs under a lease.
  public var leased: Int
  /// VMs being made right now.
  public var creating: Int
  /// VMs whose lease has ended, being put back to the template.
  public var resetting: Int
  /// VMs being taken apart.
  public var retiring: Int
  /// VMs that could not be taken apart in time. They count against the limits.
  public var quarantined: Int
  /// Clients waiting for a lease.
  public var waiting: Int
  /// VMs taken and running.
  public var running: Int
  /// VMs taken and paused.
  public var paused: Int
  /// VMs stopped and not yet deleted.
  public var stopped: Int
  /// Whether the pool was deleted and waits for its last lease to end.
  public var draining: Bool
  /// How it stands with making VMs.
  public var refill: RefillStatusDocument
  /// How it stands with the VM that its others are cloned from.
  public var template: TemplateStatusDocument

  /// A status.
  public init(
    ready: Int, outdated: Int, leased: Int, creating: Int, resetting: Int = 0, retiring: Int, quarantined: Int,
    waiting: Int, running: Int, paused: Int, stopped: Int, draining: Bool, refill: RefillStatusDocument,
    template: TemplateStatusDocument = TemplateStatusDocument(state: "none")
  ) {
    self.ready = ready
    self.outdated = outdated
    self.leased = leased
    self.creating = creating
    self.resetting = resetting
    self.retiring = retiring
    self.quarantined = quarantined
    self.waiting = waiting
    self.running = running
    self.paused = paused
    self.stopped = stopped
    self.draining = draining
    self.refill = refill
    self.template = template
  }
}

/// How a pool stands with making VMs.
public struct RefillStatusDocument: Codable, Sendable, Equatable {
  /// `ok`, `paused`, `limited` (the host has no room), `backing_off` or `breaker_open`.
  public var state: String
  /// Attempts that have failed since one succeeded.
  public var failures: Int
  /// Why the last attempt failed, or which limit stands in the way; null where nothing does.
  public var lastError: String?
  /// When the last attempt failed; RFC 3339, UTC.
  public var lastFailedAt: String?
  /// When the next attempt is due; RFC 3339, UTC.
  public var nextAttemptAt: String?

  /// A status.
  public init(
    state: String, failures: Int = 0, lastError: String? = nil, lastFailedAt: String? = nil,
    nextAttemptAt: String? = nil
  ) {
    self.state = state
    self.failures = failures
    self.lastError = lastError
    self.lastFailedAt = lastFailedAt
    self.nextAttemptAt = nextAttemptAt
  }

  enum CodingKeys: String, CodingKey {
    case state, failures
    case lastError = "last_error"
    case lastFailedAt = "last_failed_at"
    case nextAttemptAt = "next_attempt_at"
  }
}

/// The body of `PUT /v1/pools/{pool}`.
public struct DeclarePoolDocument: Codable, Sendable, Equatable {
  /// The name of an image.
  public var image: String
  /// 1 to 64; 1 when absent.
  public var vcpus: Int?
  /// 1 to 65 536; what the image needs when absent.
  public var memoryMiB: Int?
  /// How many VMs to keep ready, 0 to 1000.
  public var ready: ReadyRange
  /// At least `ready.max`; no limit but the server's when absent.
  public var maxVMs: Int?
  /// 1 to 86 400 000; never when absent.
  public var deadlineMS: Int?
  /// As the server's when absent.
  public var refill: RefillDocument?
  /// False when absent.
  public var paused: Bool?
  /// 10 to 3 600 000; never when absent.
  public var probeIntervalMS: Int?
  /// `loaded` when absent.
  public var readyWhen: ReadyWhen?
  /// 1 to 600 000; 60 000 when absent.
  public var readyTimeoutMS: Int?
  /// `reset` when absent where there is a template, else `replace`.
  public var onRelease: OnRelease?
  /// `sampled` when absent.
  public var verifyReset: VerifyReset?
  /// Whether every tenant may lease its VMs; false when absent. True for pools of the default tenant alone.
  public var shared: Bool?

  /// A declaration; nil stands for the default.
  public init(
    image: String, vcpus: Int? = nil, memoryMiB: Int? = nil, ready: ReadyRange, maxVMs: Int? = nil,
    deadlineMS: Int? = nil, refill: RefillDocument? = nil, paused: Bool? = nil, probeIntervalMS: Int? = nil,
    readyWhen: ReadyWhen? = nil, readyTimeoutMS: Int? = nil, onRelease: OnRelease? = nil,
    verifyReset: VerifyReset? = nil, shared: Bool? = nil
  ) {
    self.image = image
    self.vcpus = vcpus
    self.memoryMiB = memoryMiB
    self.ready = ready
    self.maxVMs = maxVMs
    self.deadlineMS = deadlineMS
    self.refill = refill
    self.paused = paused
    self.probeIntervalMS = probeIntervalMS
    self.readyWhen = readyWhen
    self.readyTimeoutMS = readyTimeoutMS
    self.onRelease = onRelease
    self.verifyReset = verifyReset
    self.shared = shared
  }

  /// The members' names; a change of a declaration has the same.
  public enum CodingKeys: String, CodingKey {
    case image, vcpus
    case memoryMiB = "memory_mib"
    case ready
    case maxVMs = "max_vms"
    case deadlineMS = "deadline_ms"
    case refill, paused
    case probeIntervalMS = "probe_interval_ms"
    case readyWhen = "ready_when"
    case readyTimeoutMS = "ready_timeout_ms"
    case onRelease = "on_release"
    case verifyReset = "verify_reset"
    case shared
  }
}
