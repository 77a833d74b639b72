import Digests
import HTTPServer

/// `/openapi.yaml`.
enum DocumentRoutes {
  static let routes = [
    Route(method: .get, template: "/openapi.yaml", operationID: "getOpenAPI", operation: get)
  ]

  private static let tag = "\"\(SHA256Digest(of: PackageResources.vmpool_yaml).hex.prefix(32))\""

  private static func get(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    try context.unlessUnchanged(tag, "The document", caching: "no-cache") {
      let headers = [
        ("Content-Type", "application/yaml"), ("ETag", tag), ("Cache-Control", "no-cache"),
        ("X-Content-Type-Options", "nosniff"),
      ]
      return HTTPResponse(status: 200, headers: headers, body: PackageResources.vmpool_yaml)
    }
  }
}
