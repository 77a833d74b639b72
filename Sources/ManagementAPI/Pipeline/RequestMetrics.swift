import Metrics
import Synchronization

/// How long requests take, by method, route and status: all of them closed sets, which no request can extend.
final class RequestMetrics: Sendable {
  private struct Series: Hashable {
    let method: String
    let route: String
    let status: Int
  }

  /// Guards the table, not the histograms, which need no guard; a leaf lock.
  private let table = Mutex<[Series: DurationHistogram]>([:])
  private static let methods: Set<String> = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]

  /// Counts a request; `route` is its path's template, `status` 0 when its client got no answer.
  func record(method: String, route: String?, status: Int, ns: UInt64) {
    let method = Self.methods.contains(method) ? method : "other"
    let series = Series(method: method, route: route ?? "other", status: status)
    let histogram = table.withLock { table in
      if let found = table[series] { return found }
      let new = DurationHistogram(bounds: DurationHistogram.requestBounds)
      table[series] = new
      return new
    }
    histogram.record(ns: ns)
  }

  /// The family, its series in order.
  var family: MetricFamily {
    let entries = table.withLock { Array($0) }.sorted {
      ($0.key.route, $0.key.method, $0.key.status) < ($1.key.route, $1.key.method, $1.key.status)
    }
    return MetricFamily(
      name: "vmpool_http_request_duration_seconds",
      help: "Time from a request's first line to its answer's last byte; code 0: its client got no answer.",
      kind: .histogram, unit: "seconds",
      samples: entries.map { series, histogram in
        MetricSample(
          labels: [("method", series.method), ("route", series.route), ("code", String(series.status))],
          value: .histogram(histogram.snapshot()))
      })
  }
}
