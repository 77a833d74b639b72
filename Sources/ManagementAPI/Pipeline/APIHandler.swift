import Control
import HTTPServer
import LinuxSupport
import Metrics
import PoolManager
import Synchronization

import class StateStore.StateDatabase

/// The REST API over a fleet of VMs: the handler of the HTTP server.
///
/// Called on the server's threads. `Pipeline.swift` has the way of a request through it.
public final class APIHandler: HTTPHandler {
  /// What an API has to know beside its fleet.
  public struct Configuration: Sendable {
    /// What the host is.
    public var host: HostFacts
    /// The names and addresses, without ports, that clients may call the server by, beside those of the loopback.
    public var hostNames: [String]
    /// The HTTP server's limit on bodies, in bytes.
    public var bodyLimit: Int
    /// How long vCPUs have to acknowledge a start, a pause, a resume or a stop before the client learns that they have not.
    public var controlNS: UInt64
    /// The HTTP server's own count of what waits.
    public var load: HTTPLoad
    /// Called with the record of every request and the template of its path (nil: no such path), on any thread.
    public var accessLog: (@Sendable (_ record: HTTPAccessRecord, _ route: String?) -> Void)?
    /// The families that `/metrics` has beside those of the API: the program's own. On any thread.
    public var programMetrics: @Sendable () -> [MetricFamily] = { [] }
    /// Who may use the server without a key.
    public var access = AccessPolicy()

    /// A configuration.
    public init(
      host: HostFacts, hostNames: [String] = [], bodyLimit: Int = 1 << 20, controlNS: UInt64 = 5_000_000_000,
      load: HTTPLoad = HTTPLoad(),
      accessLog: (@Sendable (_ record: HTTPAccessRecord, _ route: String?) -> Void)? = nil
    ) {
      self.host = host
      self.hostNames = hostNames
      self.bodyLimit = bodyLimit
      self.controlNS = controlNS
      self.load = load
      self.accessLog = accessLog
    }
  }

  let fleet: Fleet
  let pools: PoolDeclarations
  let images: ImageCatalogue
  let events: EventLog
  let state: StateDatabase
  /// The keys that are on record in the state.
  public let keys: KeyRing
  let keylessStreams = KeylessStreams()
  let configuration: Configuration
  let requestMetrics = RequestMetrics()
  let router = Router(Route.all)
  let admission: Admission
  /// Relaxed: a mere count, which the server's stop looks at.
  private let inProgress = Atomic<Int>(0)
  /// For operations that block or keep a processor busy. Past its queue, requests get 503.
  let workers = WorkerPool(name: "api", threads: 16, queueLimit: 256)
  /// For scrapes, which look at every VM: they must not wait behind operations that block.
  let scrapers = WorkerPool(name: "scrape", role: .files, threads: 2, queueLimit: 32)

  /// For the audit log. One thread: a client that reads page after page keeps nothing waiting but other readers of the log.
  let auditors: WorkerPool
  let refusedAttempts: RefusedAttempts

  /// An API over `fleet`, whose pools are declared in `pools` and whose VMs are made of `images`. `/v1/events` serves `events`,
  /// and `state` keeps what has to outlive a request.
  public init(
    fleet: Fleet, pools: PoolDeclarations, images: ImageCatalogue, events: EventLog, state: StateDatabase,
    configuration: Configuration
  ) {
    self.fleet = fleet
    self.images = images
    self.state = state
    keys = KeyRing(state)
    auditors = WorkerPool(name: "audit", role: .files, threads: 1, queueLimit: 64)
    refusedAttempts = RefusedAttempts(state, on: auditors)
    self.pools = pools
    self.configuration = configuration
    self.events = events
    admission = Admission(hosts: configuration.hostNames)
    DeadlineTimer.begin()
  }

  /// Requests that are being answered or wait for something; streams, which need not end, are none.
  public var answersInProgress: Int { inProgress.load(ordering: .relaxed) }

  func answerBegun() { inProgress.add(1, ordering: .relaxed) }
  func answerEnded() { inProgress.subtract(1, ordering: .relaxed) }

  // MARK: What operations share

  /// The VM that a path names, if the client still has the lease whose fence it presents. `isTaken` for what makes it
  /// unfit for being leased to another client.
  func vm(_ context: Context, isTaken: Bool = false) throws(APIProblem) -> VM {
    let fence = try context.fence()
    if fence == nil, !isTaken {
      return try translating { () throws(FleetError) in try fleet.vm(context.parameters.vm, for: context.viewer) }
    }
    return try translating { () throws(FleetError) in
      try fleet.vm(context.parameters.vm, for: context.viewer, fence: fence, isTaken: isTaken)
    }
  }

  /// Why there is no such lease: what became of it, as far as is known.
  func ended(_ context: Context) throws(APIProblem) -> APIProblem {
    let id = context.parameters.lease
    let end: LeaseEnd?
    do throws(JournalFailure) {
      end = try fleet.endOfLease(id, for: context.viewer)
    } catch {
      throw APIProblem(error)
    }
    guard let end else {
      return .noSuchLease(id)
    }
    let advice = "its VM is not yours any more; lease another"
    return switch end {
    case .released: APIProblem(.leaseReleased, "The lease \(id) was released: \(advice).")
    case .expired: APIProblem(.leaseExpired, "The lease \(id) has expired: \(advice), and extend it in time.")
    case .abandoned: APIProblem(.leaseReleased, "The lease \(id) was given back when its client left: \(advice).")
    case .vmDeleted: APIProblem(.leaseLost, "The lease \(id) was lost when its VM was deleted: \(advice).")
    case .poolDeleted: APIProblem(.leaseLost, "The lease \(id) was lost when its pool was deleted: \(advice).")
    case .notRecorded: APIProblem(.leaseLost, "The lease \(id) was lost: it could not be recorded; lease another.")
    case .serverEnded:
      APIProblem(.leaseLost, "The lease \(id) was lost when the server ended, and its VM with it: lease another.")
    }
  }
}
