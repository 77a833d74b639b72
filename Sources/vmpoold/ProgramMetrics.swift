import HTTPServer
import Metrics
import StateStore

/// What the program itself adds to `/metrics`.
struct ProgramMetrics: Sendable {
  let log: LogWriter
  let configuredPools: ConfiguredPools
  let state: StateDatabase
  let load: HTTPLoad
  let tls: ServerCertificate?

  var families: [MetricFamily] {
    [
      MetricFamily(
        name: "vmpool_log_lines_dropped_total",
        help: "Log lines that were dropped, because the log was not read in time or could not be written.",
        kind: .counter, samples: [MetricSample(value: .integer(log.dropped))]),
      MetricFamily(
        name: "vmpool_starts_total", help: "Servers that have started on this state directory.", kind: .counter,
        samples: [MetricSample(value: .integer(UInt64(clamping: state.recovered.epoch)))]),
      MetricFamily(
        name: "vmpool_start_lost_leases",
        help: "Leases that were open when the last server on this state directory ended, and are lost.", kind: .gauge,
        samples: [MetricSample(value: .integer(UInt64(clamping: state.recovered.lostLeases.count)))]),
      MetricFamily(
        name: "vmpool_state_write_failures_total", help: "Changes of the state that could not be written.",
        kind: .counter, samples: [MetricSample(value: .integer(state.writeHealth.failures))]),
      gauge("vmpool_http_connections", "Open connections of clients.", load.connections),
      gauge("vmpool_http_connections_limit", "Connections that may be open: --max-connections.", load.connectionLimit),
      gauge("vmpool_http_waiting", "Requests that wait for their answer.", load.waiting),
      gauge("vmpool_http_streams", "Streams that have not ended.", load.streams),
    ] + configuredPools.families + (tls?.families ?? [])
  }

  private func gauge(_ name: String, _ help: String, _ value: Int) -> MetricFamily {
    MetricFamily(
      name: name, help: help, kind: .gauge, samples: [MetricSample(value: .integer(UInt64(clamping: value)))])
  }
}
