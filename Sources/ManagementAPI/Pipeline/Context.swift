import Access
import Control
import Digests
import HTTPServer
import JSONCodec
import LinuxSupport
import PoolManager

/// One request to one operation. The pipeline makes it when the head is there and carries it to the end.
///
/// SAFETY (`@unchecked Sendable`): `body` and `sink` are set by `complete`, before the operation's task begins, and only
/// read after that. `use` is set while the head is looked at. `afterwards` is set by the operation's task and read by the
/// same task, in `answered`.
final class Context: HTTPContext, @unchecked Sendable {
  let route: Route
  let parameters: PathParameters
  let query: Query
  let principal: Principal
  /// What the request uses of its key; nil where it came without one.
  private(set) var use: KeyUse?
  let head: HTTPRequestHead
  /// CLOCK_MONOTONIC when the head was there.
  let receivedNS: UInt64
  /// The body; empty where `sink` took it.
  private(set) var body: [UInt8] = []
  private(set) var sink: (any HTTPBodySink)?
  /// Called when the answer is on its way: what would keep the processors from it.
  var afterwards: (@Sendable () -> Void)?

  init(_ head: HTTPRequestHead, route: Route, parameters: PathParameters, query: Query, principal: Principal) {
    self.head = head
    self.route = route
    self.parameters = parameters
    self.query = query
    self.principal = principal
    receivedNS = MonotonicClock.now()
  }

  /// Takes the request out of its key's limits. Once, before the body comes.
  func begin(_ use: KeyUse) { self.use = use }

  /// Takes the body, which has come. Once.
  func complete(_ request: HTTPRequest) {
    body = request.body
    sink = request.sink
  }

  var requestID: String { head.requestID }
  var endsWithClient: Bool { route.endsWithClient }

  func waits(cancel: @escaping @Sendable () -> Void) { use?.whenEnded(cancel) }

  /// On whose behalf changes are recorded.
  var origin: Origin { Origin(who: principal.id, tenant: tenant, requestID: head.requestID) }

  /// The value of a header field that has one value, such as `Lease-Fence`; nil without it. Several lines of it are refused:
  /// whichever counted, the client may have meant the other.
  func header(_ name: String) throws(APIProblem) -> String? {
    let values = head.headers.all(name)
    guard values.count <= 1 else {
      throw APIProblem(.badRequest, "The request has \(values.count) \(name) fields; send one.")
    }
    return values.first
  }

  /// The fence of the lease that the client believes to hold; nil where it presents none.
  func fence() throws(APIProblem) -> UInt64? {
    guard let text = try header("Lease-Fence") else { return nil }
    guard (1...19).contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
      let fence = UInt64(text)
    else {
      throw APIProblem(
        .badRequest, "Lease-Fence is \"\(text.clipped(to: 32))\"; give the number that came with the lease.")
    }
    return fence
  }
}

/// What the segments of a path name. A route without a parameter never asks for it.
struct PathParameters: Sendable, Equatable {
  var vm = ""
  var lease = ""
  /// Of a vCPU.
  var index: Int?
  var name = ""
  var digest = PathParameters.none

  private static let none = SHA256Digest(of: [])
}
