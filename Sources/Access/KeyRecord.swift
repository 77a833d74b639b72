/// What a key may do: what its maker chooses.
public struct KeyGrant: Sendable, Equatable {
  /// Whose key it is.
  public var tenant: Tenant
  /// What it may do.
  public var scopes: Scopes
  /// The pools that it is bound to, by its tenant's names; nil where it is bound to none.
  public var pools: Set<String>?
  /// A remark for people.
  public var note: String
  /// How much it may ask for.
  public var limits: KeyLimits

  /// A grant.
  public init(
    tenant: Tenant, scopes: Scopes, pools: Set<String>? = nil, note: String = "", limits: KeyLimits = KeyLimits()
  ) {
    self.tenant = tenant
    self.scopes = scopes
    self.pools = pools
    self.note = note
    self.limits = limits
  }
}

/// How much a key may ask for. Nil does not limit.
public struct KeyLimits: Sendable, Equatable {
  /// Requests a second, in the long run.
  public var rate: Int?
  /// Requests that may come at once, where there is a rate; nil: as many as a second has.
  public var burst: Int?
  /// Requests and streams under way at a time.
  public var concurrency: Int?

  /// Limits.
  public init(rate: Int? = nil, burst: Int? = nil, concurrency: Int? = nil) {
    self.rate = rate
    self.burst = burst
    self.concurrency = concurrency
  }
}

/// A key as the server keeps it: everything but its text. Times are Unix milliseconds.
public struct KeyRecord: Sendable, Equatable {
  /// `key-` and sixteen lower-case hex digits; no secret.
  public let id: String
  /// Of its text.
  public let hash: KeyHash
  /// What it may do.
  public let grant: KeyGrant
  /// When it was made.
  public let createdAtMS: Int
  /// When it ends by itself; nil: never.
  public let expiresAtMS: Int?
  /// When it was revoked.
  public var revokedAtMS: Int?
  /// When a request last came with it, to a minute or so; nil: never.
  public var lastUsedAtMS: Int?

  /// All members as given.
  public init(
    id: String, hash: KeyHash, grant: KeyGrant, createdAtMS: Int, expiresAtMS: Int? = nil, revokedAtMS: Int? = nil,
    lastUsedAtMS: Int? = nil
  ) {
    self.id = id
    self.hash = hash
    self.grant = grant
    self.createdAtMS = createdAtMS
    self.expiresAtMS = expiresAtMS
    self.revokedAtMS = revokedAtMS
    self.lastUsedAtMS = lastUsedAtMS
  }

  /// When it ended or ends: it is revoked, or expires; nil: never.
  public var endsAtMS: Int? {
    guard let revokedAtMS else { return expiresAtMS }
    return min(revokedAtMS, expiresAtMS ?? .max)
  }

  /// On whose behalf a request with it is made.
  public var principal: Principal {
    Principal(id: id, tenant: grant.tenant, scopes: grant.scopes, pools: grant.pools)
  }
}

extension KeyRecord {
  /// A new id.
  public static func randomID() -> String {
    let digits = String(UInt64.random(in: 0...UInt64.max), radix: 16)
    return "key-" + String(repeating: "0", count: 16 - digits.count) + digits
  }

  /// Whether the text has the form of an id.
  public static func isID(_ text: String) -> Bool {
    let digits = text.utf8.dropFirst(4)
    return text.hasPrefix("key-") && digits.count == 16
      && digits.allSatisfy {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
      }
  }
}
