import Access
import HTTPServer

/// The methods that operations have; HEAD and OPTIONS follow from them.
enum HTTPMethod: String, Sendable, CaseIterable {
  case get = "GET"
  case post = "POST"
  case put = "PUT"
  case patch = "PATCH"
  case delete = "DELETE"
}

/// One operation of the API: all that the pipeline, OPTIONS, 405 and the comparison with the OpenAPI document need.
final class Route: Sendable {
  /// What a body may be.
  enum Body: Sendable, Equatable {
    /// None is described: a body is ignored.
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

  /// An operation: from its context to its answer, or to the problem that it throws. To wait is to `await`; a client that
  /// leaves meanwhile is the task's cancellation. See `Waiting`.
  typealias Operation = @Sendable (APIHandler, Context) async throws(APIProblem) -> HTTPResponse
  /// Where a body goes, decided when its head is there.
  typealias Admission = @Sendable (APIHandler, Context) throws(APIProblem) -> HTTPAdmission
  /// Whether what has that id has not ended. It looks in memory, since a repeated request waits for it.
  typealias Lookup = @Sendable (APIHandler, _ id: String) -> Bool

  let method: HTTPMethod
  /// As in the OpenAPI document, such as `/v1/vms/{vm}`.
  let template: String
  let operationID: String
  /// What a principal must be allowed to do; nil where no principal is needed.
  let scope: Scope?
  /// Whether the configuration may open it to all.
  let isOpenable: Bool
  /// The query parameters it takes.
  let query: [String]
  let body: Body
  /// Whether it takes an `Idempotency-Key`: every POST that makes something.
  let isIdempotent: Bool
  /// Whether what it made is still there, by the id at the end of the answer's `Location`. A key whose answer names what has
  /// ended is forgotten. Nil where the answer is a result, which stays true.
  let isThere: Lookup?
  /// Whether it is refused while the server drains.
  let isNewWork: Bool
  /// Whether it ends when its client leaves while it waits.
  let endsWithClient: Bool
  /// Whether a body may be a part of the whole, as `Content-Range` says.
  let takesParts: Bool
  /// What becomes of an upload that is about to come.
  let admission: Admission?
  let operation: Operation

  init(
    method: HTTPMethod, template: String, operationID: String, scope: Scope?, isOpenable: Bool = false,
    query: [String] = [],
    body: Body = .none, isIdempotent: Bool = false, isThere: Lookup? = nil, isNewWork: Bool = false,
    endsWithClient: Bool = false,
    takesParts: Bool = false, admission: Admission? = nil, operation: @escaping Operation
  ) {
    self.method = method
    self.template = template
    self.operationID = operationID
    self.scope = scope
    self.isOpenable = isOpenable
    self.query = query + (Self.tenantTemplates.contains(template) ? ["tenant"] : [])
    self.body = body
    self.isIdempotent = isIdempotent
    self.isThere = isThere
    self.isNewWork = isNewWork
    self.endsWithClient = endsWithClient
    self.takesParts = takesParts
    self.admission = admission
    self.operation = operation
  }

  /// The paths of lists and of names, which mean another thing for each tenant: an operator says which (`tenant`). Ids are the
  /// same for all.
  private static let tenantTemplates: Set<String> = [
    "/v1/images", "/v1/images/{image}", "/v1/blobs", "/v1/blobs/{digest}", "/v1/vms", "/v1/pools", "/v1/pools/{pool}",
    "/v1/pools/{pool}/leases", "/v1/pools/{pool}/run", "/v1/leases", "/v1/events",
    "/v1/audit",
  ]

  /// Every operation, in the order of the OpenAPI document.
  static let all: [Route] =
    HostRoutes.routes + ImageRoutes.routes + BlobRoutes.routes + VMRoutes.routes + LifecycleRoutes.routes
    + VCPURoutes.routes
    + ConsoleRoutes.routes + PoolRoutes.routes + LeaseRoutes.routes + RunRoutes.routes + KeyRoutes.routes
    + AuditRoutes.routes
    + EventRoutes.routes
    + MetricsRoutes.routes + HealthRoutes.routes + DocumentRoutes.routes
}
