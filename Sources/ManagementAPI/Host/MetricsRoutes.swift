import Access
import HTTPServer
import Metrics
import PoolManager

/// `/metrics` and `/metrics/vcpus`. Both look at every VM, so neither keeps an HTTP
/// thread; nor does a scrape queue behind VMs being made.
enum MetricsRoutes {
  static let routes = [
    Route(
      method: .get, template: "/metrics", operationID: "getMetrics", scope: .read, isOpenable: true, operation: metrics),
    Route(
      method: .get, template: "/metrics/vcpus", operationID: "getVCPUMetrics", scope: .read, isOpenable: true,
      operation: vcpus),
  ]

  private static func metrics(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    // Before the scrape waits for its own answer, and counts among those that wait.
    let program = api.configuration.programMetrics()
    guard seesAll(context) else {
      // The server's own are about all tenants.
      return try await answer(api, context) { [viewer = context.viewer] in
        PoolFamilies.families(
          api.fleet.metrics.filter { $0.pool.map { viewer.sees(Tenant.split($0).tenant, pool: $0) } ?? false })
      }
    }
    return try await answer(api, context) {
      PoolFamilies.families(api.fleet.metrics) + ImageFamilies.families(api.images) + [
        api.requestMetrics.family, BuildFamily.family,
      ]
        + program + ProcessMetrics.collect()
    }
  }

  private static func vcpus(_ api: APIHandler, _ context: Context) async throws(APIProblem) -> HTTPResponse {
    let viewer = seesAll(context) ? .everything : context.viewer
    return try await answer(api, context) {
      VCPUFamilies.families(api.fleet.vms(for: viewer, after: nil, limit: .max).vms)
    }
  }

  /// The default tenant is the operator's, which looks after all. A key that is bound to pools looks after these.
  private static func seesAll(_ context: Context) -> Bool {
    context.tenant == .standard && context.principal.pools == nil
  }

  private static func answer(
    _ api: APIHandler, _ context: Context, _ collect: @escaping @Sendable () -> [MetricFamily]
  ) async throws(APIProblem) -> HTTPResponse {
    let format = Exposition.negotiate(accept: context.head.headers.list("Accept"))
    return try await api.working(on: api.scrapers) {
      .dynamic(status: 200, type: format.contentType, body: Exposition.text(collect(), format: format))
    }
  }
}
