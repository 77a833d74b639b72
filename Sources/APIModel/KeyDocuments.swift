/// A key, as the server keeps it.
public struct KeyDocument: Codable, Sendable, Equatable {
  /// Unique for good, such as `key-6f1d0c9b2a7e4835`; no secret.
  public var id: String
  /// The key itself, in the answer that says that it was made; nil in any other.
  public var key: String?
  /// Whose key it is.
  public var tenant: String
  /// What it may do.
  public var scopes: [String]
  /// The pools that it is bound to, in order of name; nil: it is bound to none.
  public var pools: [String]?
  /// A remark for people.
  public var note: String
  /// Requests a second; nil: as many as come.
  public var rate: Int?
  /// Requests that may come at once, where there is a rate; nil: as many as a second has.
  public var burst: Int?
  /// Requests and streams under way at a time; nil: as many as come.
  public var concurrency: Int?
  /// RFC 3339, UTC.
  public var createdAt: String
  /// When it ends by itself; RFC 3339, UTC; nil: never.
  public var expiresAt: String?
  /// When it was revoked; RFC 3339, UTC.
  public var revokedAt: String?
  /// When a request last came with it; RFC 3339, UTC; nil: never.
  public var lastUsedAt: String?

  /// A key.
  public init(
    id: String, key: String? = nil, tenant: String, scopes: [String], pools: [String]? = nil, note: String = "",
    rate: Int? = nil, burst: Int? = nil, concurrency: Int? = nil, createdAt: String, expiresAt: String? = nil,
    revokedAt: String? = nil, lastUsedAt: String? = nil
  ) {
    self.id = id
    self.key = key
    self.tenant = tenant
    self.scopes = scopes
    self.pools = pools
    self.note = note
    self.rate = rate
    self.burst = burst
    self.concurrency = concurrency
    self.createdAt = createdAt
    self.expiresAt = expiresAt
    self.revokedAt = revokedAt
    self.lastUsedAt = lastUsedAt
  }

  enum CodingKeys: String, CodingKey {
    case id, key, tenant, scopes, pools, note, rate, burst, concurrency
    case createdAt = "created_at"
    case expiresAt = "expires_at"
    case revokedAt = "revoked_at"
    case lastUsedAt = "last_used_at"
  }
}

/// The body of `POST /v1/keys`.
public struct CreateKeyDocument: Codable, Sendable, Equatable {
  /// Whose key it is to be; the maker's own tenant when absent.
  public var tenant: String?
  /// What it may do: one scope at least.
  public var scopes: [String]
  /// The pools that it is bound to, 1 to 64; to none when absent.
  public var pools: [String]?
  /// How long it lasts, 1000 to 3 153 600 000 000; until it is revoked when absent.
  public var ttlMS: Int?
  /// A remark for people, at most 256 bytes.
  public var note: String?
  /// Requests a second, 1 to 1 000 000.
  public var rate: Int?
  /// Requests that may come at once, 1 to 1 000 000; only with a rate.
  public var burst: Int?
  /// Requests and streams under way at a time, 1 to 65 536.
  public var concurrency: Int?

  /// A request; nil stands for the default.
  public init(
    tenant: String? = nil, scopes: [String], pools: [String]? = nil, ttlMS: Int? = nil, note: String? = nil,
    rate: Int? = nil, burst: Int? = nil, concurrency: Int? = nil
  ) {
    self.tenant = tenant
    self.scopes = scopes
    self.pools = pools
    self.ttlMS = ttlMS
    self.note = note
    self.rate = rate
    self.burst = burst
    self.concurrency = concurrency
  }

  enum CodingKeys: String, CodingKey {
    case tenant, scopes, pools
    case ttlMS = "ttl_ms"
    case note, rate, burst, concurrency
  }
}
