import APIModel
import HTTPServer
import JSONCodec

/// The kinds of problem of the API (RFC 9457), by the last segment of their type.
enum ProblemKind: String, CaseIterable, Sendable {
  case badRequest = "bad-request"
  case malformedJSON = "malformed-json"
  case invalidMember = "invalid-member"
  case invalidParameter = "invalid-parameter"
  case unauthenticated
  case scopeMissing = "scope-missing"
  case rateLimited = "rate-limited"
  case crossSiteRequest = "cross-site-request"
  case unknownHost = "unknown-host"
  case routeNotFound = "route-not-found"
  case imageNotFound = "image-not-found"
  case blobNotFound = "blob-not-found"
  case vmNotFound = "vm-not-found"
  case vcpuNotFound = "vcpu-not-found"
  case poolNotFound = "pool-not-found"
  case methodNotAllowed = "method-not-allowed"
  case requestTimeout = "request-timeout"
  case wrongState = "wrong-state"
  case staleFence = "stale-fence"
  case poolDraining = "pool-draining"
  case declaredInFile = "declared-in-file"
  case builtinImage = "builtin-image"
  case imageInUse = "image-in-use"
  case blobInUse = "blob-in-use"
  case uploadInProgress = "upload-in-progress"
  case idempotencyKeyInUse = "idempotency-key-in-use"
  case idempotencyKeyReused = "idempotency-key-reused"
  case keyNotFound = "key-not-found"
  case firstKeyNeedsAdmin = "first-key-needs-admin"
  case leaseNotFound = "lease-not-found"
  case leaseReleased = "lease-released"
  case leaseExpired = "lease-expired"
  case leaseLost = "lease-lost"
  case preconditionFailed = "precondition-failed"
  case poolExhausted = "pool-exhausted"
  case quotaExceeded = "quota-exceeded"
  case tooManyWaiting = "too-many-waiting"
  case payloadTooLarge = "payload-too-large"
  case wrongOffset = "wrong-offset"
  case rangeNotSatisfiable = "range-not-satisfiable"
  case digestMismatch = "digest-mismatch"
  case invalidImage = "invalid-image"
  case unsupportedMediaType = "unsupported-media-type"
  case internalError = "internal-error"
  case draining
  case serverBusy = "server-busy"
  case resourcesExhausted = "resources-exhausted"
  case storageFailed = "storage-failed"
  case insufficientStorage = "insufficient-storage"
  case kickTimeout = "kick-timeout"
  case vmQuarantined = "vm-quarantined"

  /// The `type` member.
  var type: String { "/problems/" + rawValue }

  /// The `title` member.
  var title: String {
    switch self {
    case .badRequest: "Bad request"
    case .malformedJSON: "Malformed JSON"
    case .invalidMember: "Invalid member"
    case .invalidParameter: "Invalid parameter"
    case .unauthenticated: "Unauthenticated"
    case .scopeMissing: "Scope missing"
    case .rateLimited: "Rate limited"
    case .crossSiteRequest: "Cross-site request"
    case .unknownHost: "Unknown host name"
    case .routeNotFound: "No such path"
    case .imageNotFound: "No such image"
    case .blobNotFound: "No such blob"
    case .vmNotFound: "No such VM"
    case .vcpuNotFound: "No such vCPU"
    case .poolNotFound: "No such pool"
    case .methodNotAllowed: "Method not allowed"
    case .requestTimeout: "Request timeout"
    case .wrongState: "Wrong state"
    case .staleFence: "Stale fence"
    case .poolDraining: "Pool is being deleted"
    case .declaredInFile: "Declared in the configuration file"
    case .builtinImage: "Built-in image"
    case .imageInUse: "Image in use"
    case .blobInUse: "Blob in use"
    case .uploadInProgress: "Upload in progress"
    case .idempotencyKeyInUse: "Idempotency key in use"
    case .idempotencyKeyReused: "Idempotency key reused"
    case .keyNotFound: "No such key"
    case .firstKeyNeedsAdmin: "First key needs admin"
    case .leaseNotFound: "No such lease"
    case .leaseReleased: "Lease released"
    case .leaseExpired: "Lease expired"
    case .leaseLost: "Lease lost"
    case .preconditionFailed: "Precondition failed"
    case .poolExhausted: "Pool exhausted"
    case .quotaExceeded: "Quota exceeded"
    case .tooManyWaiting: "Too many requests wait"
    case .payloadTooLarge: "Payload too large"
    case .wrongOffset: "Wrong offset"
    case .rangeNotSatisfiable: "Range not satisfiable"
    case .digestMismatch: "Digest mismatch"
    case .invalidImage: "Invalid image"
    case .unsupportedMediaType: "Unsupported media type"
    case .internalError: "Internal error"
    case .draining: "Draining"
    case .serverBusy: "Server busy"
    case .resourcesExhausted: "Resources exhausted"
    case .storageFailed: "Storage failed"
    case .insufficientStorage: "Insufficient storage"
    case .kickTimeout: "Kick timeout"
    case .vmQuarantined: "VM quarantined"
    }
  }

  /// The HTTP status.
  var status: Int {
    switch self {
    case .badRequest, .malformedJSON, .invalidMember, .invalidParameter: 400
    case .unauthenticated: 401
    case .crossSiteRequest, .unknownHost, .scopeMissing: 403
    case .routeNotFound, .imageNotFound, .blobNotFound, .vmNotFound, .vcpuNotFound, .poolNotFound, .leaseNotFound,
      .keyNotFound:
      404
    case .methodNotAllowed: 405
    case .requestTimeout: 408
    case .wrongState, .staleFence, .poolDraining, .declaredInFile, .idempotencyKeyInUse, .builtinImage, .imageInUse,
      .blobInUse, .uploadInProgress, .firstKeyNeedsAdmin:
      409
    case .leaseReleased, .leaseExpired, .leaseLost: 410
    case .preconditionFailed: 412
    case .payloadTooLarge: 413
    case .unsupportedMediaType: 415
    case .wrongOffset, .rangeNotSatisfiable: 416
    case .idempotencyKeyReused, .digestMismatch, .invalidImage: 422
    case .poolExhausted, .quotaExceeded, .tooManyWaiting, .rateLimited: 429
    case .internalError: 500
    case .draining, .serverBusy, .resourcesExhausted, .storageFailed: 503
    case .kickTimeout, .vmQuarantined: 504
    case .insufficientStorage: 507
    }
  }

  /// Seconds after which it is worth trying again, where that is known.
  var retryAfter: Int? {
    switch self {
    case .draining: 5
    case .serverBusy, .resourcesExhausted, .poolExhausted, .quotaExceeded, .tooManyWaiting, .rateLimited: 1
    case .storageFailed: 10
    default: nil
    }
  }
}

/// A problem with one request: thrown by the code that handles it, answered as a problem document.
struct APIProblem: Error, Equatable {
  let kind: ProblemKind
  /// A sentence: what happened, to what, and what to do next.
  let detail: String
  /// RFC 6901 pointer to the offending member.
  var pointer: String?
  /// With `wrongState`.
  var state: String?
  /// With `methodNotAllowed`: what the path has.
  var allow: String?
  /// With `poolExhausted`: how many others wait.
  var waiting: Int?
  /// Where an upload goes on, where there is one.
  var uploadOffset: Int?
  /// With `rangeNotSatisfiable`: how much there is, as `Content-Range` says it.
  var contentRange: String?
  /// With `rateLimited`, where the rate is the limit.
  var rateLimit: RateLimit?

  /// The limit that was reached, as the fields RateLimit-Policy and RateLimit say it (draft-ietf-httpapi-ratelimit-headers).
  struct RateLimit: Equatable {
    var policy: String
    var state: String
    /// Until there is a request left.
    var seconds: Int
  }

  init(
    _ kind: ProblemKind, _ detail: String, pointer: String? = nil, state: String? = nil, allow: String? = nil,
    waiting: Int? = nil
  ) {
    self.waiting = waiting
    self.kind = kind
    self.detail = detail
    self.pointer = pointer
    self.state = state
    self.allow = allow
  }

  /// The answer to the request of that id.
  func response(requestID: String) -> HTTPResponse {
    let document = Problem(
      type: kind.type, title: kind.title, status: kind.status, detail: detail, requestID: requestID, pointer: pointer,
      state: state, waiting: waiting)
    var response = HTTPResponse.dynamic(status: kind.status, type: "application/problem+json")
    if let allow { response.headers.append(("Allow", allow)) }
    if let uploadOffset { response.headers.append(("Upload-Offset", String(uploadOffset))) }
    if let contentRange { response.headers.append(("Content-Range", contentRange)) }
    if kind == .unauthenticated { response.headers.append(("WWW-Authenticate", "Bearer realm=\"vmpool\"")) }
    if let rateLimit {
      response.headers += [("RateLimit-Policy", rateLimit.policy), ("RateLimit", rateLimit.state)]
    }
    if let seconds = rateLimit?.seconds ?? kind.retryAfter { response.headers.append(("Retry-After", String(seconds))) }
    do throws(JSONEncodingError) {
      response.body = try JSON.encode(document) + [.newline]
    } catch {
      // A document of strings and one small integer can always be written.
      preconditionFailure("a problem document cannot be encoded: \(error)")
    }
    return response
  }

}

extension HTTPResponse {
  /// An answer that no cache may keep, and whose type no client may guess.
  static func dynamic(status: Int, type: String, body: [UInt8] = []) -> HTTPResponse {
    HTTPResponse(
      status: status,
      headers: [("Content-Type", type), ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")],
      body: body)
  }

  /// A document. A newline ends it, so that a terminal's prompt stands below it.
  static func json<T: Encodable>(_ document: T, status: Int = 200) throws(APIProblem) -> HTTPResponse {
    try json(status) { () throws(JSONEncodingError) in try JSON.encode(document) }
  }

  /// The same, for a document that writes itself.
  static func json<T: JSONWritable>(_ document: T, status: Int = 200) throws(APIProblem) -> HTTPResponse {
    try json(status) { () throws(JSONEncodingError) in try JSON.encode(document) }
  }

  private static func json(
    _ status: Int, _ encode: () throws(JSONEncodingError) -> [UInt8]
  ) throws(APIProblem) -> HTTPResponse {
    do throws(JSONEncodingError) {
      return .dynamic(status: status, type: "application/json", body: try encode() + [.newline])
    } catch {
      throw APIProblem(.internalError, "\(error)")
    }
  }

  /// A document that was made at `location`.
  static func created<T: Encodable>(_ document: T, at location: String) throws(APIProblem) -> HTTPResponse {
    var response = try json(document, status: 201)
    response.headers.append(("Location", location))
    return response
  }

  /// Done, and nothing to say.
  static var noContent: HTTPResponse {
    HTTPResponse(status: 204, headers: [("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")])
  }
}

extension UInt8 {
  static let newline = UInt8(ascii: "\n")
}
