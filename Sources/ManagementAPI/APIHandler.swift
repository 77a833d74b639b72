import HTTPServer
import LinuxSupport
import Metrics
import PoolManager
import Synchronization

import class StateStore.StateDatabase

/// The REST API over a fleet of VMs: the handler of the HTTP server.
///
/// Called on the server's threads; what could keep one of them goes on elsewhere (`Lane`).
public final class APIHandler: HTTPHandler {
  /// What an API has to know beside its fleet.
  public struct Configuration: Sendable {
    /// What the host is.
    public var host: HostFacts
    /// The names and addresses, without ports, that clients may call the server by, beside those of the loopback.
    public var hostNames: [String]
    /// The HTTP server's limit on bodies, in bytes.
    public var bodyLimit: Int
    /// Called with the record of every request and the template of its path (nil: no such path), on any thread.
    public var accessLog: (@Sendable (_ record: HTTPAccessRecord, _ route: String?) -> Void)?
    /// The families that `/metrics` has beside those of the API: the program's own. On any thread.
    public var programMetrics: @Sendable () -> [MetricFamily] = { [] }

    /// A configuration.
    public init(
      host: HostFacts, hostNames: [String] = [], bodyLimit: Int = 1 << 20,
      accessLog: (@Sendable (_ record: HTTPAccessRecord, _ route: String?) -> Void)? = nil
    ) {
      self.host = host
      self.hostNames = hostNames
      self.bodyLimit = bodyLimit
      self.accessLog = accessLog
    }
  }

  let fleet: Fleet
  let pools: PoolDeclarations
  let images: ImageCatalogue
  let events: EventLog
  private let state: StateDatabase
  let configuration: Configuration
  let requestMetrics = RequestMetrics()
  private let router = Router(Route.all)
  private let admission: Admission
  /// Answers being worked on elsewhere. Relaxed: whoever reads it only wants to know whether it is worth waiting.
  private let postponed = Atomic<Int>(0)

  /// An API over `fleet`, whose pools are declared in `pools` and whose VMs are made of `images`; `events` is what `/v1/events` tells, and what has to
  /// outlive a request is kept in `state`.
  public init(
    fleet: Fleet, pools: PoolDeclarations, images: ImageCatalogue, events: EventLog, state: StateDatabase,
    configuration: Configuration
  ) {
    self.fleet = fleet
    self.images = images
    self.state = state
    self.pools = pools
    self.configuration = configuration
    self.events = events
    admission = Admission(hosts: configuration.hostNames)
  }

  /// Answers that are still being worked on or waited for; streams, which need not end, are none.
  public var answersInProgress: Int { postponed.load(ordering: .relaxed) }

  // MARK: HTTPHandler

  /// Refuses what can be refused before the body is there.
  public func admit(_ head: HTTPRequestHead) -> HTTPAdmission {
    do throws(APIProblem) {
      try admission.check(head)
      guard head.method != "OPTIONS" else { return .collect }
      let (route, parameters) = try find(head)
      try ContentTypes.check(head.headers, for: route.body)
      if case .bytes(let limit) = route.body, let length = head.contentLength, length > limit {
        throw .tooLarge(limit: limit)
      }
      if route.isNewWork, fleet.isDraining { throw .draining }
      guard let admission = route.admission else { return .collect }
      let query = try Query(head.query, allowed: route.query)
      return try admission(self, Call(request: HTTPRequest(head: head), parameters: parameters, query: query))
    } catch {
      return .answer(error.response(requestID: head.requestID))
    }
  }

  /// Answers a complete request.
  public func respond(to request: HTTPRequest) -> HTTPReply {
    let (answer, template) = answer(request)
    switch answer {
    case .now(var response):
      response.label = template
      return .now(response)
    case .later(let lane, let work):
      let requestID = request.head.requestID
      answerBegun()
      return .later { responder in
        lane.run {
          var response = Self.response(requestID, of: work)
          response.label = template
          responder.complete(response)
          self.answerEnded()
        }
      }
    case .suspended(let start):
      let (requestID, progress) = (request.head.requestID, Waiter.Progress(self))
      return .later { responder in
        start(Waiter(responder, requestID: requestID, label: template, progress: progress))
      }
    case .stream(var head, let start):
      head.label = template
      return .stream(head, start)
    }
  }

  func answerBegun() { postponed.add(1, ordering: .relaxed) }
  func answerEnded() { postponed.subtract(1, ordering: .relaxed) }

  /// The server's own refusals, as problem documents.
  public func response(to refusal: HTTPRefusal, requestID: String) -> HTTPResponse {
    APIProblem(refusal).response(requestID: requestID)
  }

  /// Counts the request, and has it logged.
  public func completed(_ record: HTTPAccessRecord) {
    // What was refused before it had been routed has no label.
    let template = record.label ?? router.template(ofRaw: record.rawPath)
    requestMetrics.record(method: record.method, route: template, status: record.status, ns: record.durationNS)
    configuration.accessLog?(record, template)
  }

  // MARK: Dispatching

  /// The answer, or the work that leads to it; and the template of the path, where there is one.
  func answer(_ request: HTTPRequest) -> (answer: Answer, template: String?) {
    var template: String?
    do throws(APIProblem) {
      if request.head.method == "OPTIONS" { return (.now(try options(request.head)), nil) }
      let (route, parameters) = try find(request.head)
      template = route.template
      let query = try Query(request.head.query, allowed: route.query)
      let call = Call(request: request, parameters: parameters, query: query)
      if route.isIdempotent, let key = call.header("Idempotency-Key") {
        return (try answer(call, to: route, under: key), template)
      }
      return (try route.handler(self, call), template)
    } catch {
      return (.now(error.response(requestID: request.head.requestID)), template)
    }
  }

  private func answer(_ call: Call, to route: Route, under key: String) throws(APIProblem) -> Answer {
    switch try IdempotentRequest.begin(call, key: key, in: state) {
    case .replay(let response): return .now(response)
    case .first(let request):
      do throws(APIProblem) {
        return request.keeping(try route.handler(self, call))
      } catch {
        request.forget()
        throw error
      }
    }
  }

  /// Does the work of an answer that came later.
  static func response(
    _ requestID: String, of work: () throws(APIProblem) -> HTTPResponse
  ) -> HTTPResponse {
    do throws(APIProblem) {
      return try work()
    } catch {
      return error.response(requestID: requestID)
    }
  }

  private func find(_ head: HTTPRequestHead) throws(APIProblem) -> (Route, PathParameters) {
    guard let (path, parameters) = router.find(head.pathSegments), head.rawPath != "*" else {
      throw .noSuchPath(head.rawPath)
    }
    guard let route = path.route(head.method) else {
      let detail = "\(head.rawPath.clipped()) has no \(head.method.clipped(to: 32)); it has \(path.allow)."
      throw APIProblem(.methodNotAllowed, detail, allow: path.allow)
    }
    return (route, parameters)
  }

  private func options(_ head: HTTPRequestHead) throws(APIProblem) -> HTTPResponse {
    let allow: String
    if head.rawPath == "*" {
      allow = (HTTPMethod.allCases.map(\.rawValue) + ["HEAD", "OPTIONS"]).joined(separator: ", ")
    } else if let found = router.find(head.pathSegments) {
      allow = found.path.allow
    } else {
      throw .noSuchPath(head.rawPath)
    }
    var response = HTTPResponse.noContent
    response.headers.append(("Allow", allow))
    return response
  }

  // MARK: What operations share

  /// The VM that a path names, if the client still has the lease whose fence it presents. `isTaken` for what makes it
  /// unfit for being leased to somebody else.
  func vm(_ call: Call, isTaken: Bool = false) throws(APIProblem) -> VM {
    let fence = try call.fence()
    if fence == nil, !isTaken { return try translating { () throws(FleetError) in try fleet.vm(call.parameters.vm) } }
    return try translating { () throws(FleetError) in
      try fleet.vm(call.parameters.vm, fence: fence, isTaken: isTaken)
    }
  }

  /// Why there is no such lease: what became of it, as far as is known.
  func ended(_ id: String) throws(APIProblem) -> APIProblem {
    let end: LeaseEnd?
    do throws(JournalFailure) {
      end = try fleet.endOfLease(id)
    } catch {
      throw APIProblem(error)
    }
    guard let end else {
      return APIProblem(.leaseNotFound, "There is no lease \(id); GET /v1/leases lists them.")
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

  /// Waits for as long as an HTTP thread may be kept, and if that is not enough, for the rest of the time elsewhere.
  ///
  /// `attempt` waits until the time it is given and answers nil when that was not enough; its flag tells whether it
  /// is the first. `expired` is called once, if nothing came of either.
  func waiting(
    untilNS deadlineNS: UInt64,
    expired: @escaping @Sendable () -> APIProblem,
    _ attempt: @escaping @Sendable (_ untilNS: UInt64, _ isFirst: Bool) throws(APIProblem) -> HTTPResponse?
  ) throws(APIProblem) -> Answer {
    let patience = min(MonotonicClock.now() + 2_000_000, deadlineNS)
    if let response = try attempt(patience, true) { return .now(response) }
    if patience == deadlineNS { throw expired() }
    return .later(.alone) { () throws(APIProblem) in
      if let response = try attempt(deadlineNS, false) { return response }
      throw expired()
    }
  }
}

extension APIProblem {
  fileprivate static func noSuchPath(_ rawPath: String) -> APIProblem {
    APIProblem(
      .routeNotFound, "There is nothing at \(rawPath.clipped()); GET /openapi.yaml describes the paths there are.")
  }

  static func tooLarge(limit: Int) -> APIProblem {
    APIProblem(.payloadTooLarge, "The body is larger than \(limit) bytes.")
  }
}
