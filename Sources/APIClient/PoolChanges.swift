import APIModel

/// What a JSON merge patch (RFC 7396) changes in a pool's declaration; what is nil stays as it is.
public struct PoolChanges: Encodable, Sendable, Equatable {
  /// A new value for a member that a declaration can leave out.
  public enum NewValue<Value: Sendable & Equatable>: Sendable, Equatable {
    /// As if it were left out.
    case standard
    /// This.
    case value(Value)
  }

  /// The name of its VMs' image.
  public var image: String?
  /// Virtual CPUs of each VM.
  public var vcpus: Int?
  /// Guest memory of each VM, in MiB.
  public var memoryMiB: Int?
  /// How many VMs to keep ready.
  public var ready: ReadyRange?
  /// The most VMs at the same time.
  public var maxVMs: NewValue<Int>?
  /// How long a VM may run.
  public var deadlineMS: NewValue<Int>?
  /// The most VMs made at the same time.
  public var refillConcurrency: NewValue<Int>?
  /// Whether it is left as it is.
  public var paused: Bool?
  /// How often one of its running VMs is kicked, to see how long that takes.
  public var probeIntervalMS: NewValue<Int>?
  /// How far its VMs' guests have come when they are leased.
  public var readyWhen: ReadyWhen?
  /// How long the guest of the VM that the others are cloned from may take to print the text of `ready_when`.
  public var readyTimeoutMS: Int?
  /// What becomes of a VM whose lease has ended.
  public var onRelease: OnRelease?
  /// Which VMs that were reset are compared with the template.
  public var verifyReset: VerifyReset?
  /// Whether other tenants lease from it, too.
  public var shared: Bool?

  /// No change.
  public init() {}

  /// Writes what changes, and nothing else.
  public func encode(to encoder: any Encoder) throws {
    var members = encoder.container(keyedBy: CodingKeys.self)
    if let image { try members.encode(image, forKey: .image) }
    if let vcpus { try members.encode(vcpus, forKey: .vcpus) }
    if let memoryMiB { try members.encode(memoryMiB, forKey: .memoryMiB) }
    if let ready { try members.encode(ready, forKey: .ready) }
    try Self.encode(maxVMs, .maxVMs, &members)
    try Self.encode(deadlineMS, .deadlineMS, &members)
    switch refillConcurrency {
    case nil: break
    // A member that is null is written, which takes it back.
    case .standard: try members.encode(RefillDocument(), forKey: .refill)
    case .value(let count): try members.encode(RefillDocument(concurrency: count), forKey: .refill)
    }
    if let paused { try members.encode(paused, forKey: .paused) }
    try Self.encode(probeIntervalMS, .probeIntervalMS, &members)
    if let readyWhen { try members.encode(readyWhen, forKey: .readyWhen) }
    if let readyTimeoutMS { try members.encode(readyTimeoutMS, forKey: .readyTimeoutMS) }
    if let onRelease { try members.encode(onRelease, forKey: .onRelease) }
    if let verifyReset { try members.encode(verifyReset, forKey: .verifyReset) }
    if let shared { try members.encode(shared, forKey: .shared) }
  }

  private static func encode(
    _ change: NewValue<Int>?, _ key: CodingKeys, _ members: inout KeyedEncodingContainer<CodingKeys>
  ) throws {
    switch change {
    case nil: break
    case .standard: try members.encodeNil(forKey: key)
    case .value(let value): try members.encode(value, forKey: key)
    }
  }

  private typealias CodingKeys = DeclarePoolDocument.CodingKeys
}
