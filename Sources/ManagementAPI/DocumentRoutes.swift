import HTTPServer

/// `/openapi.yaml`.
enum DocumentRoutes {
  static let routes = [
    Route(method: .get, template: "/openapi.yaml", operationID: "getOpenAPI", operation: get)
  ]

  private static func get(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let headers = [
      ("Content-Type", "application/yaml"), ("Cache-Control", "no-cache"), ("X-Content-Type-Options", "nosniff"),
    ]
    return HTTPResponse(status: 200, headers: headers, body: PackageResources.vmpool_yaml)
  }
}
