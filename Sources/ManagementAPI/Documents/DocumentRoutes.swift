import APIModel
import Digests
import HTTPServer

/// `/`, `/docs`, `/openapi.yaml` and `/problems/{kind}`: what the API says of itself.
enum DocumentRoutes {
  static let routes = [
    Route(method: .get, template: "/", operationID: "getLinks", scope: nil, operation: links),
    Route(method: .get, template: "/docs", operationID: "getDocs", scope: nil, operation: docs),
    Route(method: .get, template: "/openapi.yaml", operationID: "getOpenAPI", scope: nil, operation: openAPI),
    Route(method: .get, template: "/problems/{kind}", operationID: "getProblem", scope: nil, operation: problem),
  ]

  private static func links(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    try .json(LinksDocument())
  }

  private static let openAPIFile = StaticDocument("application/yaml", PackageResources.vmpool_yaml)
  private static let page = StaticDocument("text/html; charset=utf-8", Array(OperationsPage.text.utf8))

  private static func openAPI(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    try openAPIFile.response(context)
  }

  private static func docs(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    try page.response(context)
  }

  private static func problem(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    guard let kind = ProblemKind(rawValue: context.parameters.name) else {
      throw APIProblem(
        .routeNotFound,
        "There is no kind of problem \(context.parameters.name); GET /openapi.yaml lists the kinds at Problem.")
    }
    return try StaticDocument("text/plain; charset=utf-8", Array(kind.page.utf8)).response(context)
  }
}

/// A document that is the same as long as the server runs.
private struct StaticDocument: Sendable {
  let type: String
  let body: [UInt8]
  let tag: String

  init(_ type: String, _ body: [UInt8]) {
    self.type = type
    self.body = body
    tag = "\"\(SHA256Digest(of: body).hex.prefix(32))\""
  }

  func response(_ context: Context) throws(APIProblem) -> HTTPResponse {
    try context.unlessUnchanged(tag, "The document", caching: "no-cache") {
      let headers = [
        ("Content-Type", type), ("ETag", tag), ("Cache-Control", "no-cache"), ("X-Content-Type-Options", "nosniff"),
      ]
      return HTTPResponse(status: 200, headers: headers, body: body)
    }
  }
}

/// The answer to `GET /`: where to go on.
private struct LinksDocument: Encodable {
  let name = "vmpool"
  let version = Release.version
  let links = [
    "docs": "/docs", "openapi": "/openapi.yaml", "host": "/v1/host", "pools": "/v1/pools", "leases": "/v1/leases",
    "vms": "/v1/vms", "images": "/v1/images", "blobs": "/v1/blobs", "events": "/v1/events", "metrics": "/metrics",
    "live": "/livez", "ready": "/readyz",
  ]
}
