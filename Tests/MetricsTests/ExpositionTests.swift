import Metrics
import Testing

@Suite struct ExpositionTests {
  @Test func prometheusText() {
    #expect(
      text(Exposition.prometheusText(sampleFamilies)) == #"""
        # HELP vmpool_kicks_total Kicks "served",\nby \\ phase.
        # TYPE vmpool_kicks_total counter
        vmpool_kicks_total{pool="demo",phase="guest"} 18446744073709551615
        vmpool_kicks_total{pool="a\"b\\c\nd é",phase="entry"} 0
        # HELP vmpool_cpu_seconds_total CPU time.
        # TYPE vmpool_cpu_seconds_total counter
        vmpool_cpu_seconds_total 0.25
        # HELP vmpool_balance Any number.
        # TYPE vmpool_balance gauge
        vmpool_balance{of="a"} -1.5
        vmpool_balance{of="b"} 3.0
        vmpool_balance{of="c"} +Inf
        vmpool_balance{of="d"} -Inf
        vmpool_balance{of="e"} NaN
        vmpool_balance{of="f"} 1e-07
        vmpool_balance{of="g"} 1e+100
        # HELP vmpool_kick_latency_seconds From request to KVM_RUN left.
        # TYPE vmpool_kick_latency_seconds histogram
        vmpool_kick_latency_seconds_bucket{pool="demo",le="1e-06"} 1
        vmpool_kick_latency_seconds_bucket{pool="demo",le="2.5e-06"} 1
        vmpool_kick_latency_seconds_bucket{pool="demo",le="0.0001"} 3
        vmpool_kick_latency_seconds_bucket{pool="demo",le="1.0"} 6
        vmpool_kick_latency_seconds_bucket{pool="demo",le="+Inf"} 10
        vmpool_kick_latency_seconds_sum{pool="demo"} 5.000000001
        vmpool_kick_latency_seconds_count{pool="demo"} 10
        vmpool_kick_latency_seconds_bucket{le="2.5"} 0
        vmpool_kick_latency_seconds_bucket{le="+Inf"} 0
        vmpool_kick_latency_seconds_sum 0.0
        vmpool_kick_latency_seconds_count 0
        # HELP vmpool_build_info The server's version.
        # TYPE vmpool_build_info gauge
        vmpool_build_info{version="0.1.0"} 1
        # HELP vmpool_vms VMs by state; none just now.
        # TYPE vmpool_vms gauge

        """#)
  }

  @Test func openMetricsDiffersInHeadsAndEnd() {
    let lines = text(Exposition.openMetrics(sampleFamilies)).split(separator: "\n", omittingEmptySubsequences: false)
    #expect(
      lines.filter { $0.hasPrefix("#") } == [
        #"# HELP vmpool_kicks Kicks \"served\",\nby \\ phase."#,
        "# TYPE vmpool_kicks counter",
        "# HELP vmpool_cpu_seconds CPU time.",
        "# TYPE vmpool_cpu_seconds counter",
        "# UNIT vmpool_cpu_seconds seconds",
        "# HELP vmpool_balance Any number.",
        "# TYPE vmpool_balance gauge",
        "# HELP vmpool_kick_latency_seconds From request to KVM_RUN left.",
        "# TYPE vmpool_kick_latency_seconds histogram",
        "# UNIT vmpool_kick_latency_seconds seconds",
        "# HELP vmpool_build_info The server's version.",
        "# TYPE vmpool_build_info gauge",
        "# HELP vmpool_vms VMs by state; none just now.",
        "# TYPE vmpool_vms gauge",
        "# EOF",
      ])
    #expect(lines.suffix(2) == ["# EOF", ""])
    let plain = text(Exposition.prometheusText(sampleFamilies)).split(separator: "\n")
    #expect(lines.filter { !$0.hasPrefix("#") && !$0.isEmpty } == plain.filter { !$0.hasPrefix("#") })
  }

  @Test func nothingToSay() {
    #expect(text(Exposition.prometheusText([])) == "")
    #expect(text(Exposition.openMetrics([])) == "# EOF\n")
  }

  @Test(arguments: [
    (0, "0.0"), (1, "1e-09"), (10, "1e-08"), (11, "1.1e-08"), (123, "1.23e-07"), (25_000, "2.5e-05"),
    (99_999, "9.9999e-05"), (100_000, "0.0001"), (250_000, "0.00025"), (100_001, "0.000100001"), (1_000_000, "0.001"),
    (999_999_999, "0.999999999"), (1_000_000_000, "1.0"), (1_500_000_000, "1.5"), (10_000_000_000, "10.0"),
    (10_000_000_001, "10.000000001"), (UInt64.max, "18446744073.709551615"),
  ])
  func secondsAreExact(ns: UInt64, seconds: String) {
    let family = MetricFamily(
      name: "a_seconds", help: "A.", kind: .histogram,
      samples: [MetricSample(value: .histogram(HistogramSnapshot(bounds: [ns], counts: [0, 0], sumNS: ns)))])
    let lines = text(Exposition.prometheusText([family])).split(separator: "\n")
    #expect(lines.contains("a_seconds_bucket{le=\"\(seconds)\"} 0"))
    #expect(lines.contains("a_seconds_sum \(seconds)"))
  }

  @Test(
    arguments: [
      (nil, Exposition.Format.prometheusText),
      ("", .prometheusText),
      ("*/*", .prometheusText),
      ("text/html,application/xhtml+xml,*/*;q=0.8", .prometheusText),
      ("text/plain", .prometheusText),
      ("application/json", .prometheusText),
      ("application/*", .prometheusText),
      ("application/openmetrics-text", .openMetrics),
      ("Application/OpenMetrics-Text; Version=\"1.0.0\" ; charset=utf-8", .openMetrics),
      ("application/openmetrics-text;version=0.0.1", .prometheusText),
      ("application/openmetrics-text;version=2.0.0", .prometheusText),
      ("application/openmetrics-text;q=0", .prometheusText),
      ("application/openmetrics-text;q=2", .prometheusText),
      ("application/openmetrics-text;q=x", .prometheusText),
      ("application/openmetrics-text;q=0.5,text/plain;q=0.4", .openMetrics),
      ("application/openmetrics-text;q=0.4,text/plain;q=0.5", .prometheusText),
      ("application/openmetrics-text;q=0.4,*/*;q=0.5", .prometheusText),
      ("application/openmetrics-text;q=0.4,*/*;q=0.5,text/plain;q=0.1", .openMetrics),
      ("application/openmetrics-text,text/plain", .openMetrics),
      ("text/plain,application/openmetrics-text", .prometheusText),
      ("application/openmetrics-text,*/*", .openMetrics),
      (",;,/;q,application/openmetrics-text;;q=1;=,", .openMetrics),
      // Prometheus 2.42.
      (
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
          + "text/plain;version=0.0.4;q=0.5,*/*;q=0.1", .openMetrics
      ),
      // Prometheus 3.
      (
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
          + "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
          + "text/plain;version=0.0.4;q=0.2,*/*;q=0.1", .openMetrics
      ),
      // Prometheus told to prefer the text format.
      (
        "text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.2", .prometheusText
      ),
    ] as [(String?, Exposition.Format)])
  func negotiation(accept: String?, format: Exposition.Format) {
    #expect(Exposition.negotiate(accept: accept) == format)
  }

  @Test func contentTypes() {
    #expect(Exposition.Format.prometheusText.contentType == "text/plain; version=0.0.4; charset=utf-8")
    #expect(
      Exposition.Format.openMetrics.contentType == "application/openmetrics-text; version=1.0.0; charset=utf-8")
  }
}

@Suite struct ExpositionViolationTests {
  private static func gauge(
    _ name: String, _ labels: [[(String, String)]] = [[]], help: String = "Help.", unit: String? = nil
  ) -> MetricFamily {
    MetricFamily(
      name: name, help: help, kind: .gauge, unit: unit,
      samples: labels.map { MetricSample(labels: $0, value: .integer(1)) })
  }

  private static func family(_ name: String, _ kind: MetricFamily.Kind, _ value: MetricSample.Value) -> MetricFamily {
    MetricFamily(name: name, help: "Help.", kind: kind, samples: [MetricSample(value: value)])
  }

  @Test func nothingWrong() {
    #expect(Exposition.violations(in: sampleFamilies) == [])
    #expect(Exposition.violations(in: ProcessMetrics.collect()) == [])
    #expect(Exposition.violations(in: [Self.gauge("a", [[("x", "1")], [("x", "2")], [("y", "1")], []])]) == [])
  }

  @Test(arguments: [
    ("same family", [gauge("a"), gauge("a")]),
    ("a histogram's series", [family("a", .histogram, .histogram(.init(bounds: [1]))), gauge("a_count")]),
    ("a counter's family", [family("a_total", .counter, .integer(1)), gauge("a")]),
    ("same labels", [gauge("a", [[("x", "1"), ("y", "2")], [("y", "2"), ("x", "1")]])]),
    ("same label", [gauge("a", [[("x", "1"), ("x", "2")]])]),
    ("no help", [gauge("a", help: "")]),
    ("empty name", [gauge("")]),
    ("digit first", [gauge("1a")]),
    ("hyphen", [gauge("a-b")]),
    ("not ASCII", [gauge("é")]),
    ("label with colon", [gauge("a", [[("x:y", "1")]])]),
    ("reserved label", [gauge("a", [[("__name__", "1")]])]),
    ("counter without suffix", [family("a", .counter, .integer(1))]),
    ("gauge with a counter's suffix", [gauge("a_total")]),
    ("reserved suffix", [gauge("a_bucket")]),
    ("unit not in the name", [gauge("a", unit: "seconds")]),
    ("histogram in a gauge", [family("a", .gauge, .histogram(.init(bounds: [])))]),
    ("number in a histogram", [family("a", .histogram, .integer(1))]),
    ("bounds that do not ascend", [family("a", .histogram, .histogram(.init(bounds: [2, 2])))]),
    ("negative counter", [family("a_total", .counter, .number(-1))]),
    ("counter that is no number", [family("a_total", .counter, .number(.nan))]),
  ])
  func isFound(what: String, families: [MetricFamily]) {
    #expect(Exposition.violations(in: families).count == 1, "\(what)")
  }

  @Test func ownLabelOfHistograms() {
    let sample = MetricSample(labels: [("le", "1")], value: .histogram(HistogramSnapshot(bounds: [1])))
    let family = MetricFamily(name: "a", help: "Help.", kind: .histogram, samples: [sample])
    #expect(Exposition.violations(in: [family]).count == 1)
  }

  #if DEBUG
    @Test func debugBuildStops() async {
      await #expect(processExitsWith: .failure) {
        let family = MetricFamily(name: "a", help: "Help.", kind: .gauge, samples: [])
        _ = Exposition.prometheusText([family, family])
      }
    }
  #endif
}
