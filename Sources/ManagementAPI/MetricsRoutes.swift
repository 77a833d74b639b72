import HTTPServer
import Metrics

/// `/metrics` and `/metrics/vcpus`. Both look at every VM, so neither keeps an HTTP
/// thread; nor does a scrape queue behind VMs being made.
enum MetricsRoutes {
  static let routes = [
    Route(method: .get, template: "/metrics", operationID: "getMetrics", handler: metrics),
    Route(method: .get, template: "/metrics/vcpus", operationID: "getVCPUMetrics", handler: vcpus),
  ]

  private static func metrics(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    answer(call) {
      PoolFamilies.families(api.fleet.metrics) + ImageFamilies.families(api.images) + [
        api.requestMetrics.family, BuildFamily.family,
      ]
        + api.configuration.programMetrics() + ProcessMetrics.collect()
    }
  }

  private static func vcpus(_ api: APIHandler, _ call: Call) throws(APIProblem) -> Answer {
    answer(call) { VCPUFamilies.families(api.fleet.vms(after: nil, limit: .max).vms) }
  }

  private static func answer(_ call: Call, _ collect: @escaping @Sendable () -> [MetricFamily]) -> Answer {
    let format = Exposition.negotiate(accept: call.request.head.headers["Accept"])
    return .later(.alone) {
      .dynamic(status: 200, type: format.contentType, body: Exposition.text(collect(), format: format))
    }
  }
}
