import Access
import Foundation
import GuestImages
import MachineRuntime

/// What a client that wants a VM asks for.
public struct LeaseRequest: Sendable {
  /// How long the lease lasts, unless it is extended.
  public var ttlNS: UInt64
  /// How long to wait for a VM when there is none; 0 for not at all.
  public var waitNS: UInt64
  /// What the client attaches to the lease.
  public var labels: [String: String]
  /// Written into the guest's memory before it is started.
  public var arguments: GuestArguments
  /// On whose behalf.
  public var origin: Origin
  /// Starts the guest, before the lease is recorded, so that it runs meanwhile. If the lease cannot be recorded the VM is
  /// taken apart; so while recording fails, the fleet records first.
  public var begin: (@Sendable (Lease) -> Void)?

  /// A request.
  public init(
    ttlNS: UInt64, waitNS: UInt64, labels: [String: String] = [:],
    arguments: GuestArguments = GuestArguments(), origin: Origin
  ) {
    self.ttlNS = ttlNS
    self.waitNS = waitNS
    self.labels = labels
    self.arguments = arguments
    self.origin = origin
  }
}

/// On whose behalf something is done.
public struct Origin: Sendable, Equatable {
  /// Who asked for it, or what in the server did it by itself.
  public let who: String
  /// Whose things it makes.
  public let tenant: Tenant
  /// The request; nil where it was none.
  public let requestID: String?

  /// A client's request.
  public init(who: String, tenant: Tenant = .standard, requestID: String?) {
    self.who = who
    self.tenant = tenant
    self.requestID = requestID
  }

  /// The server itself.
  public static let server = Origin(who: "server", requestID: nil)
}

/// A VM, handed over for a time.
public struct Lease: Sendable {
  /// Unique for good: `lease-` and sixteen hex digits.
  public let id: String
  /// Whose it is.
  public let tenant: Tenant
  /// The pool it came from.
  public let pool: String
  /// The VM.
  public let vm: VM
  /// Grows with every hand-over, for the life of the state directory.
  public let fence: UInt64
  /// What the client attached to it.
  public let labels: [String: String]
  /// When it was granted.
  public let grantedAt: Date
  /// When the server takes the VM back.
  public let expiresAt: Date
  /// How far `expiresAt` can be extended.
  public let lastsUntil: Date
}

/// How a lease ended.
public enum LeaseEnd: String, Sendable, Equatable, CaseIterable {
  /// Its holder gave the VM back.
  case released
  /// Its time was up.
  case expired
  /// The VM was deleted under it.
  case vmDeleted = "vm_deleted"
  /// The pool was deleted, leases and all.
  case poolDeleted = "pool_deleted"
  /// The client had gone before it had its answer.
  case abandoned
  /// It could not be recorded, and was never handed out.
  case notRecorded = "not_recorded"
  /// The server ended, and its VMs with it.
  case serverEnded = "server_ended"

  /// Whether its holder lost it without having asked for that.
  public var isLoss: Bool {
    switch self {
    case .released, .expired, .abandoned: false
    case .vmDeleted, .poolDeleted, .notRecorded, .serverEnded: true
    }
  }
}

/// Why there is no lease.
public enum LeaseRefusal: Error, Sendable, Equatable {
  /// There is no such pool.
  case noSuchPool
  /// The pool is being deleted.
  case poolDeleted
  /// No VM was ready in time; so many others still wait. The reason is there where waiting longer will not help, or not
  /// by itself.
  case exhausted(waiting: Int, reason: PoolShortage?)
  /// The server is about to stop.
  case draining
  /// Its tenant may not have one more.
  case quota(QuotaRefusal)
  /// It could not be recorded.
  case notRecorded(JournalFailure)
  /// The VM of that id cannot take the request's guest arguments: the pool's image has become another.
  case argumentsRefused(vm: String, MachineControlError)
}

/// Why a pool has no VM to lease, and will not have one by itself.
public enum PoolShortage: Sendable, Equatable, CustomStringConvertible {
  /// It is declared `paused`.
  case paused
  /// As many VMs as it may have are there, leased or controlled by clients.
  case full(maxVMs: Int)
  /// A limit of the server or the host stands in the way, or a quota of the pool's tenant.
  case noRoom(RoomRefusal)
  /// The last attempt to make a VM failed.
  case failing(String)
  /// It keeps no VM ready, and makes one only for a client that waits.
  case keepsNone

  /// What stands in the way, and what to change.
  public var description: String {
    switch self {
    case .paused: "the pool is paused: set paused to false, and it makes VMs again"
    case .full(let most):
      "all \(most) VMs that max_vms allows are in use: wait until a lease ends (wait_ms), or raise max_vms"
    case .noRoom(let refusal): "\(refusal)"
    case .failing(let detail): "making a VM fails: \(detail)"
    case .keepsNone: "the pool keeps none ready: wait for one (wait_ms), or raise ready"
    }
  }
}

/// What became of a request for a lease.
public enum LeaseAnswer: Sendable {
  /// Here it is.
  case granted(Lease)
  /// It waits; the function that was given with the request is called later.
  case waiting(LeaseWait)
}

/// A place in a pool's queue.
public struct LeaseWait: Sendable {
  let id: UInt64
  let pool: String
}

/// Where leases are recorded, so that they outlive the process. Called on any thread, and answers at once.
public protocol LeaseJournal: Sendable {
  /// The id of the lease of that number, which no client can guess from those of other leases.
  func id(ofLease number: UInt64) -> String
  /// Whether the latest attempt to record something failed.
  var isFailing: Bool { get }
  /// Whether a lease that is granted now is sure to be recorded, as far as can be known: there is room for its record.
  var canRecord: Bool { get }
  /// A lease is about to be handed out.
  func granted(_ lease: Lease, by origin: Origin) throws(JournalFailure)
  /// An open lease will last until `expiresAt`.
  func extended(_ lease: Lease, by origin: Origin) throws(JournalFailure)
  /// What became of a lease, as far as is known; nil where it is not.
  func end(of id: String) throws(JournalFailure) -> PastLease?
  /// Leases have ended: all of that is recorded, or none. Returns those that are not on record as granted (yet).
  func ended(_ leases: [EndedLease]) throws(JournalFailure) -> [String]
}

/// What is known of a lease that has ended.
public struct PastLease: Sendable, Equatable {
  /// How it ended.
  public let end: LeaseEnd
  /// Whose it was.
  public let tenant: Tenant
  /// The pool that it was of.
  public let pool: String

  /// A lease that has ended.
  public init(end: LeaseEnd, tenant: Tenant, pool: String) {
    self.end = end
    self.tenant = tenant
    self.pool = pool
  }
}

/// A lease that has ended.
public struct EndedLease: Sendable, Equatable {
  /// The lease.
  public let id: String
  /// Whose it was.
  public let tenant: Tenant
  /// The pool that it was of.
  public let pool: String
  /// How it ended.
  public let end: LeaseEnd
  /// When.
  public let at: Date
  /// Who ended it.
  public let origin: Origin
}

/// Why something could not be recorded.
public struct JournalFailure: Error, Sendable, Equatable, CustomStringConvertible {
  /// What happened, to what, and what to do next.
  public let description: String

  /// A failure.
  public init(_ description: String) { self.description = description }
}

/// What operators of a pool want to know.
public enum PoolNote: Sendable, Equatable {
  /// A client had to wait or was refused, for the first time since there was a VM.
  case exhausted
  /// Making a VM failed.
  case failing(String)
  /// Making a VM succeeded again.
  case recovered
  /// There is no room for a VM that is wanted.
  case limited(RoomRefusal)
  /// A VM could not be taken apart in time.
  case quarantined(vm: String)
  /// A VM could not be put back to its template, and is taken apart instead.
  case resetFailed(vm: String, String)
  /// A VM was put back to its template and differs from it in what the text says: it is taken apart.
  case resetDiffers(vm: String, String)
}

/// What happens in the fleet.
public enum FleetEvent: Sendable {
  /// A VM is in a new state; nil when it is deleted.
  case vm(VM, state: MachineState?)
  /// A lease was granted, or lasts longer.
  case lease(Lease, isNew: Bool)
  /// A lease has ended.
  case ended(Lease, LeaseEnd)
  /// A pool was declared, for the first time or anew; nil when it is deleted.
  case pool(String, isNew: Bool?)
  /// How a pool fares; nil for VMs of none.
  case note(pool: String?, PoolNote)
  /// The end of a lease could not be recorded.
  case journal(JournalFailure)
}
