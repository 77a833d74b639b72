import HTTPServer

/// `/openapi.yaml`.
enum DocumentRoutes {
  static let routes = [
    Route(method: .get, template: "/openapi.yaml", operationID: "getOpenAPI", handler: get)
  ]

  private static func get(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    let headers = [
      ("Content-Type", "application/yaml"), ("Cache-Control", "no-cache"), ("X-Content-Type-Options", "nosniff"),
    ]
    return .now(HTTPResponse(status: 200, headers: headers, body: PackageResources.vmpool_yaml))
  }
}
