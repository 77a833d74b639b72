import APIModel
import Access
import Foundation
import JSONCodec
import PoolManager
import StateStore

/// Records leases, pools and images in the server's state.
public struct StateJournal: LeaseJournal, PoolJournal, ImageJournal {
  private let state: StateDatabase

  /// A journal in `state`.
  public init(_ state: StateDatabase) { self.state = state }

  // MARK: Leases

  /// Whether the latest attempt to record something failed.
  public var isFailing: Bool { state.isFailing }
  /// Whether a lease that is granted now can be recorded.
  public var canRecord: Bool { state.canRecord }

  /// The id of the lease of that number.
  public func id(ofLease number: UInt64) -> String { state.leaseID(number) }

  /// A lease is about to be handed out.
  public func granted(_ lease: Lease, by origin: Origin) throws(JournalFailure) {
    let stored = StoredLease(
      id: lease.id, tenant: lease.tenant.name, pool: lease.pool, vm: lease.vm.id, fence: Int(clamping: lease.fence),
      labels: try Self.json(lease.labels), grantedAtMS: lease.grantedAt.milliseconds,
      expiresAtMS: lease.expiresAt.milliseconds, maxExpiresAtMS: lease.lastsUntil.milliseconds)
    try writing { () throws(StateStoreError) in
      try state.recordLease(stored, by: origin.who, requestID: origin.requestID)
    }
  }

  /// An open lease will last until `expiresAt`.
  public func extended(_ lease: Lease, by origin: Origin) throws(JournalFailure) {
    // Not in the audit log, which heartbeats would drown.
    try writing { () throws(StateStoreError) in
      try state.extendLease(id: lease.id, expiresAtMS: lease.expiresAt.milliseconds, audit: nil)
    }
  }

  /// Leases have ended.
  public func ended(_ leases: [EndedLease]) throws(JournalFailure) -> [String] {
    let ends = leases.compactMap { lease -> (id: String, end: StoredLeaseEnd, audit: AuditEntry)? in
      guard let reason = Self.reason(lease.end) else { return nil }
      let atMS = lease.at.milliseconds
      return (
        lease.id, StoredLeaseEnd(reason: reason, atMS: atMS),
        Self.entry("lease.\(reason.rawValue)", lease.id, lease.origin, of: lease.tenant, atMS: atMS)
      )
    }
    return try writing { () throws(StateStoreError) in try state.endLeases(ends) }
  }

  /// How a lease ended, as far as is known; nil where it is not.
  public func end(of id: String) throws(JournalFailure) -> PastLease? {
    guard let lease = try writing({ () throws(StateStoreError) in try state.lease(id: id) }),
      let reason = lease.end?.reason
    else { return nil }
    let end: LeaseEnd =
      switch reason {
      case .released: .released
      case .expired: .expired
      case .lost: .serverEnded
      case .abandoned: .abandoned
      case .revoked: .poolDeleted
      case .failed: .vmDeleted
      }
    return PastLease(end: end, tenant: Tenant(lease.tenant) ?? .standard, pool: lease.pool)
  }

  /// nil for what was never recorded.
  private static func reason(_ end: LeaseEnd) -> StoredLeaseEnd.Reason? {
    switch end {
    case .released: .released
    case .expired: .expired
    case .vmDeleted: .failed
    case .poolDeleted: .revoked
    case .abandoned: .abandoned
    case .serverEnded: .lost
    case .notRecorded: nil
    }
  }

  // MARK: Pools

  /// A pool is declared; `document` is JSON.
  public func declared(
    _ name: String, document: [UInt8], revision: UInt64, by origin: Origin
  ) throws(JournalFailure) {
    try writing { () throws(StateStoreError) in
      try state.putPool(
        name: name, document: document, revision: Int(clamping: revision),
        audit: Self.entry("pool.declare", name, origin, detail: String(decoding: document, as: UTF8.self)))
    }
  }

  /// A pool is deleted.
  public func deleted(_ name: String, by origin: Origin) throws(JournalFailure) {
    try writing { () throws(StateStoreError) in
      try state.deletePool(name: name, audit: Self.entry("pool.delete", name, origin))
    }
  }

  // MARK: Images

  /// An image is stored, in the place of what had its name.
  public func stored(_ image: StoredImage, by origin: Origin) throws(JournalFailure) {
    try writing { () throws(StateStoreError) in
      try state.putImage(
        image,
        audit: Self.entry(
          "image.store", image.name, origin, detail: String(decoding: image.manifest, as: UTF8.self)))
    }
  }

  /// An image is deleted.
  public func deletedImage(_ name: String, by origin: Origin) throws(JournalFailure) {
    try writing { () throws(StateStoreError) in
      try state.deleteImage(name: name, audit: Self.entry("image.delete", name, origin))
    }
  }

  /// A blob has come, of so many bytes, or is deleted (nil).
  public func noted(blob digest: String, sizeBytes: Int?, by origin: Origin) throws(JournalFailure) {
    try writing { () throws(StateStoreError) in
      let detail = sizeBytes.map { "{\"size_bytes\":\($0)}" }
      try state.append(Self.entry(detail == nil ? "blob.delete" : "blob.store", digest, origin, detail: detail))
    }
  }

  // MARK: Pieces

  private static func entry(
    _ action: String, _ subject: String, _ origin: Origin, of tenant: Tenant? = nil,
    atMS: Int = StateDatabase.wallClockMS(), detail: String? = nil
  ) -> AuditEntry {
    AuditEntry(
      who: origin.who, tenant: (tenant ?? origin.tenant).name, action: action, subject: subject,
      requestID: origin.requestID, atMS: atMS, detail: detail)
  }

  private static func json(_ labels: [String: String]) throws(JournalFailure) -> String {
    if labels.isEmpty { return "{}" }
    do throws(JSONEncodingError) {
      return String(decoding: try JSON.encode(labels), as: UTF8.self)
    } catch {
      throw JournalFailure("\(error)")
    }
  }

  private func writing<Value>(_ body: () throws(StateStoreError) -> Value) throws(JournalFailure) -> Value {
    do throws(StateStoreError) {
      return try body()
    } catch {
      throw JournalFailure("\(error)")
    }
  }
}

extension Date {
  fileprivate var milliseconds: Int { Int(timeIntervalSince1970 * 1000) }
}
