import HTTPServer

/// `/livez` and `/readyz`.
enum HealthRoutes {
  static let routes = [
    Route(method: .get, template: "/livez", operationID: "getLiveness", scope: nil, operation: live),
    Route(method: .get, template: "/readyz", operationID: "getReadiness", scope: nil, operation: ready),
  ]

  private static func live(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse { ok }

  private static func ready(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    if api.fleet.isDraining { throw .draining }
    if api.fleet.isRecordingFailing {
      throw APIProblem(
        .storageFailed, "The state cannot be written, so no VM can be leased; the server's log says why.")
    }
    return ok
  }

  private static var ok: HTTPResponse { .dynamic(status: 200, type: "text/plain", body: Array("ok\n".utf8)) }
}
