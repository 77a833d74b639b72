import Digests
import HTTPServer

/// The methods that operations have; HEAD and OPTIONS follow from them.
enum HTTPMethod: String, Sendable, CaseIterable {
  case get = "GET"
  case post = "POST"
  case put = "PUT"
  case patch = "PATCH"
  case delete = "DELETE"
}

/// One operation of the API: all that the dispatcher, OPTIONS, 405 and the comparison with the OpenAPI document need.
struct Route: Sendable {
  /// What a body may be.
  enum Body: Sendable, Equatable {
    /// None is described: whatever comes is ignored.
    case none
    /// JSON; `isRequired` false: or nothing.
    case json(isRequired: Bool)
    /// A JSON merge patch (RFC 7396).
    case mergePatch
    /// Bytes, at most so many.
    case bytes(limit: Int)
    /// Bytes of any type, perhaps very many: the route's `admission` says where they go; `orDocument`: or JSON.
    case upload(orDocument: Bool)
  }

  let method: HTTPMethod
  /// As in the OpenAPI document, such as `/v1/vms/{vm}`.
  let template: String
  let operationID: String
  /// The query parameters it takes.
  var query: [String] = []
  var body = Body.none
  /// Whether it takes an `Idempotency-Key`: every POST that makes something.
  var isIdempotent = false
  /// Whether it is refused while the server drains.
  var isNewWork = false
  /// What becomes of an upload that is about to come.
  var admission: (@Sendable (APIHandler, Call) throws(APIProblem) -> HTTPAdmission)?
  let handler: @Sendable (APIHandler, Call) throws(APIProblem) -> Answer

  /// Every operation, in the order of the OpenAPI document.
  static let all: [Route] =
    HostRoutes.routes + ImageRoutes.routes + BlobRoutes.routes + VMRoutes.routes + LifecycleRoutes.routes
    + VCPURoutes.routes
    + ConsoleRoutes.routes + PoolRoutes.routes + LeaseRoutes.routes + RunRoutes.routes + EventRoutes.routes
    + MetricsRoutes.routes + HealthRoutes.routes + DocumentRoutes.routes
}

/// One request to one operation.
struct Call: Sendable {
  let request: HTTPRequest
  let parameters: PathParameters
  let query: Query

  /// The first header field of that name, such as `If-Match`.
  func header(_ name: String) -> String? { request.head.headers[name] }

  /// The fence of the lease that the client believes to hold; nil where it presents none.
  func fence() throws(APIProblem) -> UInt64? {
    guard let text = header("Lease-Fence") else { return nil }
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
  var index = 0
  var name = ""
  var digest = SHA256Digest(of: [])
}
