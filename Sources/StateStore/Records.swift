import Access

/// A pool that was declared over the API.
public struct StoredPool: Sendable, Equatable {
  /// Unique among pools.
  public var name: String
  /// The declaration, as the caller encoded it.
  public var document: [UInt8]
  /// Grows with each change of the declaration.
  public var revision: Int

  /// All members as given.
  public init(name: String, document: [UInt8], revision: Int) {
    self.name = name
    self.document = document
    self.revision = revision
  }
}

/// An image that was stored over the API; its bytes are elsewhere.
public struct StoredImage: Sendable, Equatable {
  /// Unique among images.
  public var name: String
  /// What it was recognised as.
  public var kind: String
  /// What it is made of, as the caller encoded it.
  public var manifest: [UInt8]
  /// When it was stored, in Unix milliseconds.
  public var createdAtMS: Int

  /// All members as given.
  public init(name: String, kind: String, manifest: [UInt8], createdAtMS: Int) {
    self.name = name
    self.kind = kind
    self.manifest = manifest
    self.createdAtMS = createdAtMS
  }
}

/// A lease, open or ended. Times are Unix milliseconds.
public struct StoredLease: Sendable, Equatable {
  /// `lease-` and sixteen lower-case hex digits, unique among all leases, ended ones included: see `leaseID`.
  public var id: String
  /// Whose it is.
  public var tenant: String
  /// The name of the pool that the VM is from.
  public var pool: String
  /// The id of the VM.
  public var vm: String
  /// Grows with every hand-over of a VM.
  public var fence: Int
  /// The caller's labels as a JSON object.
  public var labels: String
  /// When it was granted.
  public var grantedAtMS: Int
  /// When it ends unless it is extended.
  public var expiresAtMS: Int
  /// Beyond this it cannot be extended.
  public var maxExpiresAtMS: Int
  /// nil while the lease is open.
  public var end: StoredLeaseEnd?

  /// All members as given.
  public init(
    id: String, tenant: String = "default", pool: String, vm: String, fence: Int, labels: String, grantedAtMS: Int,
    expiresAtMS: Int,
    maxExpiresAtMS: Int, end: StoredLeaseEnd? = nil
  ) {
    self.id = id
    self.tenant = tenant
    self.pool = pool
    self.vm = vm
    self.fence = fence
    self.labels = labels
    self.grantedAtMS = grantedAtMS
    self.expiresAtMS = expiresAtMS
    self.maxExpiresAtMS = maxExpiresAtMS
    self.end = end
  }
}

/// When and why a lease ended.
public struct StoredLeaseEnd: Sendable, Equatable {
  /// Why a lease ended.
  public enum Reason: String, Sendable, CaseIterable {
    /// Its holder gave it back.
    case released
    /// Its holder did not extend it in time.
    case expired
    /// The server ended before the lease did.
    case lost
    /// It was granted to a client that had gone.
    case abandoned
    /// The server took it back, for instance because its pool was deleted.
    case revoked
    /// The VM ended under it.
    case failed
  }

  /// Why.
  public var reason: Reason
  /// Unix milliseconds.
  public var atMS: Int
  /// A sentence for people, if there is more to say.
  public var detail: String?

  /// All members as given.
  public init(reason: Reason, atMS: Int, detail: String? = nil) {
    self.reason = reason
    self.atMS = atMS
    self.detail = detail
  }
}

/// Who changed what. It is written in the same transaction as the change.
public struct AuditEntry: Sendable, Equatable {
  /// Who asked for it: an address, a user, or the server itself.
  public var who: String
  /// Whose the subject is.
  public var tenant: String
  /// What was done, for instance `lease.grant`.
  public var action: String
  /// To what: the name or id.
  public var subject: String
  /// The request that asked for it.
  public var requestID: String?
  /// Unix milliseconds.
  public var atMS: Int
  /// More about it, as JSON.
  public var detail: String?

  /// All members as given.
  public init(
    who: String, tenant: String = "default", action: String, subject: String, requestID: String? = nil, atMS: Int,
    detail: String? = nil
  ) {
    self.who = who
    self.tenant = tenant
    self.action = action
    self.subject = subject
    self.requestID = requestID
    self.atMS = atMS
    self.detail = detail
  }
}

/// An audit entry with its place in the log.
public struct AuditRecord: Sendable, Equatable {
  /// Grows by one with each entry, across restarts.
  public var sequence: Int
  /// What was recorded.
  public var entry: AuditEntry
}

/// An answer kept for an idempotency key.
public struct StoredResponse: Sendable, Equatable {
  /// A header field.
  public struct Field: Sendable, Equatable {
    /// As it was sent.
    public var name: String
    /// As it was sent.
    public var value: String
    /// All members as given.
    public init(name: String, value: String) {
      self.name = name
      self.value = value
    }
  }

  /// The HTTP status.
  public var status: Int
  /// In the order in which they were sent.
  public var headers: [Field]
  /// All of it.
  public var body: [UInt8]

  /// All members as given.
  public init(status: Int, headers: [Field], body: [UInt8]) {
    self.status = status
    self.headers = headers
    self.body = body
  }
}

/// What an idempotency key stands for.
public enum IdempotencyOutcome: Sendable, Equatable {
  /// Not seen before, or longer ago than keys are kept: it is now in progress.
  case new
  /// The first request with this key has not been answered yet.
  case inProgress
  /// The first request with this key had another body.
  case mismatch
  /// The server ended while it served the first request: whether that took effect is not known.
  case interrupted
  /// The first request was answered with this.
  case replay(StoredResponse)
}

/// What the last process left behind.
public struct Recovered: Sendable, Equatable {
  /// Sorted by name.
  public var pools: [StoredPool]
  /// Sorted by name.
  public var images: [StoredImage]
  /// All keys that are on record, also those that have ended, sorted by id.
  public var keys: [KeyRecord]
  /// Leases that were open when the last process ended: ended now, as `lost`.
  public var lostLeases: [StoredLease]
  /// No fence ever recorded is higher; 0 if there was none.
  public var highestFence: Int
  /// No pool, deleted ones included, ever had a higher revision; 0 if there was none.
  public var highestRevision: Int
  /// How often this state has been opened, this time included.
  public var epoch: Int
}

/// How much is kept.
public struct StateLimits: Sendable {
  /// Ended leases, the latest.
  public var endedLeases = 65_536
  /// Bytes of ended leases, their labels among them.
  public var endedLeaseBytes = 48 << 20
  /// Idempotency keys, the latest.
  public var idempotencyKeys = 65_536
  /// Bytes of idempotency keys and of the answers kept for them.
  public var answerBytes = 64 << 20
  /// Audit entries, the latest.
  public var auditEntries = 131_072
  /// Bytes of audit entries.
  public var auditBytes = 48 << 20
  /// For how long ended leases and idempotency keys are kept.
  public var retentionMS = 86_400_000
  /// Pages of 1 KiB in the write-ahead log from which on it is moved into the database file. It never has more than
  /// twice as many, but for one transaction, unless another program reads the file meanwhile. Room for 1024 more is set
  /// aside behind them.
  public var logPages = 16_384

  /// What the server uses.
  public init() {}
}
