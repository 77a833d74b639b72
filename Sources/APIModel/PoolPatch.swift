/// The body of `PATCH /v1/pools/{pool}`: a JSON merge patch (RFC 7396) of the declaration. What is absent stays, what
/// is null goes back to its default.
public struct PoolPatch: Decodable, Sendable {
  private let image: Change<String>
  private let vcpus: Change<Int>
  private let memoryMiB: Change<Int>
  private let ready: Change<ReadyPatch>
  private let maxVMs: Change<Int>
  private let deadlineMS: Change<Int>
  private let refill: Change<RefillPatch>
  private let paused: Change<Bool>
  private let probeIntervalMS: Change<Int>
  /// Replaced as a whole: its forms have no members in common.
  private let readyWhen: Change<ReadyWhen>
  private let readyTimeoutMS: Change<Int>
  private let onRelease: Change<OnRelease>
  private let verifyReset: Change<VerifyReset>
  private let shared: Change<Bool>

  /// What a patch says of one member.
  fileprivate enum Change<Value: Decodable & Sendable>: Sendable {
    case none
    case remove
    case set(Value)

    func applied(to value: inout Value?) {
      switch self {
      case .none: break
      case .remove: value = nil
      case .set(let new): value = new
      }
    }
  }

  private struct RefillPatch: Decodable, Sendable {
    let concurrency: Change<Int>
    enum CodingKeys: CodingKey { case concurrency }
    init(from decoder: any Decoder) throws {
      concurrency = try decoder.container(keyedBy: CodingKeys.self).change(.concurrency)
    }
  }

  private enum ReadyPatch: Decodable, Sendable {
    case whole(Int)
    case members(min: Change<Int>, max: Change<Int>)

    init(from decoder: any Decoder) throws {
      guard decoder.isObject else {
        self = .whole(try decoder.singleValueContainer().decode(Int.self))
        return
      }
      let members = try decoder.container(keyedBy: ReadyRange.CodingKeys.self)
      self = .members(min: try members.change(.min), max: try members.change(.max))
    }
  }

  /// Reads a patch. Which members there can be is the same as in a declaration.
  public init(from decoder: any Decoder) throws {
    let members = try decoder.container(keyedBy: DeclarePoolDocument.CodingKeys.self)
    image = try members.change(.image)
    vcpus = try members.change(.vcpus)
    memoryMiB = try members.change(.memoryMiB)
    ready = try members.change(.ready)
    maxVMs = try members.change(.maxVMs)
    deadlineMS = try members.change(.deadlineMS)
    refill = try members.change(.refill)
    paused = try members.change(.paused)
    probeIntervalMS = try members.change(.probeIntervalMS)
    readyWhen = try members.change(.readyWhen)
    readyTimeoutMS = try members.change(.readyTimeoutMS)
    onRelease = try members.change(.onRelease)
    verifyReset = try members.change(.verifyReset)
    shared = try members.change(.shared)
  }

  /// What comes of a declaration; where a member that it needs would be removed, the RFC 6901 pointer to that.
  public func applied(to declaration: DeclarePoolDocument) -> Result<DeclarePoolDocument, MissingMember> {
    var result = declaration
    switch image {
    case .none: break
    case .remove: return .failure(MissingMember(pointer: "/image"))
    case .set(let new): result.image = new
    }
    switch ready {
    case .none: break
    case .remove: return .failure(MissingMember(pointer: "/ready"))
    case .set(.whole(let count)): result.ready = ReadyRange(count)
    case .set(.members(let min, let max)):
      var (low, high) = (Int?.some(result.ready.min), Int?.some(result.ready.max))
      min.applied(to: &low)
      max.applied(to: &high)
      guard let low else { return .failure(MissingMember(pointer: "/ready/min")) }
      guard let high else { return .failure(MissingMember(pointer: "/ready/max")) }
      result.ready = ReadyRange(min: low, max: high)
    }
    vcpus.applied(to: &result.vcpus)
    memoryMiB.applied(to: &result.memoryMiB)
    maxVMs.applied(to: &result.maxVMs)
    deadlineMS.applied(to: &result.deadlineMS)
    paused.applied(to: &result.paused)
    probeIntervalMS.applied(to: &result.probeIntervalMS)
    readyWhen.applied(to: &result.readyWhen)
    readyTimeoutMS.applied(to: &result.readyTimeoutMS)
    onRelease.applied(to: &result.onRelease)
    verifyReset.applied(to: &result.verifyReset)
    shared.applied(to: &result.shared)
    switch refill {
    case .none: break
    case .remove: result.refill = nil
    case .set(let patch):
      var refill = result.refill ?? RefillDocument()
      patch.concurrency.applied(to: &refill.concurrency)
      result.refill = refill
    }
    return .success(result)
  }

  /// A member that cannot be left out.
  public struct MissingMember: Error, Sendable {
    /// RFC 6901.
    public let pointer: String
  }
}

extension KeyedDecodingContainer {
  fileprivate func change<Value>(_ key: Key) throws -> PoolPatch.Change<Value> {
    guard contains(key) else { return .none }
    return try decodeNil(forKey: key) ? .remove : .set(try decode(Value.self, forKey: key))
  }
}
